"""Which messages are given up since brokers refuse their records."""

from worker.flow.condemned import Condemned
from worker.types import Failure, TopicPartition

SOURCE = TopicPartition("source", 0)


def test_a_message_is_condemned_for_the_first_of_its_failures() -> None:
    condemned = Condemned()

    condemned.add(SOURCE, 5, Failure("too_large"))
    condemned.add(SOURCE, 5, Failure("unencodable"))

    assert condemned.failure(SOURCE, 5) == Failure("too_large")
    assert condemned.failure(SOURCE, 4) is None


def test_what_is_finished_is_forgotten() -> None:
    condemned = Condemned()
    condemned.add(SOURCE, 5, Failure("unencodable"))

    condemned.forget(SOURCE, 0, 5)
    condemned.forget(SOURCE, 6, 9)
    condemned.forget(TopicPartition("source", 1), 0, 9)
    remembered = bool(condemned)
    condemned.forget(SOURCE, 5, 6)

    assert remembered
    assert not condemned
