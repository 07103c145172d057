"""When a pipeline whose records were not delivered tries again, and when that is over."""

from __future__ import annotations

from worker.flow.backoff import backoff
from worker.flow.recovery import Recovery
from worker.types import TopicPartition

ONE, OTHER = TopicPartition("source", 0), TopicPartition("source", 1)


def test_each_failure_in_a_row_is_waited_after_for_longer_until_something_is_delivered() -> None:
    recovery, waits = Recovery(), []

    for number in range(4):
        if number == 3:
            recovery.succeeded()
        recovery.failed("no leader", 10.0)
        assert recovery.resume_at is not None
        waits.append(recovery.resume_at - 10.0)
        recovery.go_on()

    assert waits == [backoff(1), backoff(2), backoff(3), backoff(1)]


def test_to_go_on_is_not_yet_to_deliver() -> None:
    recovery = Recovery()
    recovery.failed("no leader", 10.0)

    recovery.go_on()
    going = recovery.resume_at, recovery.why
    recovery.succeeded()

    assert going == (None, "no leader")
    assert recovery.why is None


def test_it_is_through_when_every_partition_is_where_it_was_at_the_furthest() -> None:
    recovery = Recovery()
    for source, position in ((ONE, 7), (OTHER, 5), (ONE, 3)):
        recovery.read_again(source, position)

    found = [recovery.is_through({ONE: one, OTHER: 5}) for one in (3, 6, 7)]

    assert found == [False, False, True]
    assert recovery.is_through({ONE: 0}), "that is over"


def test_a_partition_that_has_gone_is_not_waited_for() -> None:
    recovery = Recovery()
    recovery.read_again(ONE, 7)
    recovery.read_again(OTHER, 5)

    recovery.forget(ONE)

    assert recovery.is_through({ONE: 0, OTHER: 5})
