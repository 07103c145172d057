"""Results, dead letters, retry records and offsets in one transaction, on the memory broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.engine.flaky import Flaky, at_once, later, letters, send
from tests.engine.rig import GROUP, Rig
from worker.errors import ClientError
from worker.flow import envelope
from worker.settings.topics import fence_topic, retry_topic
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.transactional import MemoryTransactional
from worker.types import TopicPartition

INTERVAL = 0.1
SOURCE, OTHER = TopicPartition("source", 0), TopicPartition("source", 1)
TOO_LARGE = "OFFSET_METADATA_TOO_LARGE: too long"


class Seen:
    """A handler that gives payloads back, and those that it was given."""

    def __init__(self) -> None:
        self.payloads: list[int] = []

    def handler(self) -> Callable[[int], int]:
        def handle(payload: int) -> int:
            self.payloads.append(payload)
            return payload

        return handle


def echo(payload: int) -> int:
    return payload


def exactly(
    function: Callable[..., Any] = echo, settings: Mapping[str, Any] | None = None, **more: Any
) -> Rig:
    return Rig(function, {"delivery": "exactly_once", **(settings or {})}, **more)


def by_key(settings: Mapping[str, Any] | None = None) -> tuple[Rig, Seen]:
    """A pipeline that hangs at the message 0."""
    seen = Seen()
    rig = exactly(seen.handler(), {"ordering": "key", **(settings or {})})
    rig.pool.stuck, rig.pool.size = {b"0"}, 100
    return rig, seen


def producer_of(rig: Rig) -> MemoryTransactional:
    assert isinstance(rig.producer, MemoryTransactional)
    return rig.producer


def commit(rig: Rig) -> None:
    """Let the time of a transaction pass."""
    later(rig, INTERVAL + 0.01)


def end_of(rig: Rig, topic: str = "target") -> int:
    """How much was written, be it committed or not."""
    return sum(log.end for log in rig.broker.topics[topic].logs)


def test_results_and_offsets_are_seen_after_the_interval_of_a_transaction() -> None:
    rig = exactly()
    at_once(rig)
    rig.send("1", "2")
    at_once(rig)
    later(rig, INTERVAL - 0.01)
    before = (end_of(rig), rig.values(), rig.committed())

    later(rig, 0.01)

    assert before == (2, [], 0)
    assert (rig.values(), rig.committed()) == (["1", "2"], 2)


def test_a_transaction_is_committed_at_once_when_it_has_enough_messages() -> None:
    rig = exactly(settings={"transaction": {"messages": 3}})
    rig.send("1", "2")
    at_once(rig)
    before = rig.values()

    rig.send("3")
    at_once(rig)

    assert before == []
    assert (rig.values(), rig.committed()) == (["1", "2", "3"], 3)


def test_a_transaction_that_may_stay_open_for_long_is_due_when_that_is_over() -> None:
    rig = exactly(settings={"transaction": {"interval": "60s", "timeout": "120s"}})
    at_once(rig)
    rig.send("1")
    at_once(rig)
    later(rig, 2.0)

    assert rig.runner.due == pytest.approx(rig.clock.monotonic() + 58.0)
    assert rig.runner.committer.due is False


def test_one_that_has_failed_with_enough_messages_is_over_for_good() -> None:
    rig = exactly(settings={"transaction": {"messages": 2}})
    at_once(rig)
    rig.send("1", "2")
    producer_of(rig).fail_commits("a reason")
    for _ in range(3):
        rig.runner.step()

    assert rig.runner.blocked is not None
    assert rig.runner.committer.due is False


def several(payload: int) -> list[int]:
    """As many results as the payload says, or none and an error."""
    if payload < 0:
        raise ValueError
    return [payload] * payload


@pytest.mark.parametrize("is_done", [True, False])
def test_results_dead_letters_and_offsets_are_of_one_transaction(*, is_done: bool) -> None:
    rig = exactly(several, {"dead_letter": "dlq"})
    at_once(rig)
    if not is_done:
        producer_of(rig).fail_commits("a reason")
    rig.send("0", "-1", "2", "1")
    at_once(rig)
    before = rig.values(), letters(rig), rig.committed()

    rig.clock.advance(INTERVAL)
    rig.runner.step()

    assert before == ([], [], 0)
    found = rig.values(), len(letters(rig)), rig.committed()
    assert found == ((["2", "2", "1"], 1, 4) if is_done else ([], 0, 0))
    assert [one.count for one in rig.groups.latest_first()] == ([1] if is_done else [])
    later(rig, 60)
    commit(rig)
    assert (rig.values(), len(letters(rig)), rig.committed()) == (["2", "2", "1"], 1, 4)
    assert [one.count for one in rig.groups.latest_first()] == [1], "each dead letter once"


def test_what_is_finished_above_a_hanging_message_is_committed_with_its_results() -> None:
    rig, seen = by_key()
    rig.send("0", "1", "2")
    at_once(rig)
    commit(rig)
    assert (rig.values(), rig.committed()) == (["1", "2"], 0)
    assert envelope.decode(rig.broker.metadata(GROUP, SOURCE), 0) == [(1, 3)]

    rig.restart()
    rig.pool.stuck = set()
    at_once(rig)
    commit(rig)

    assert seen.payloads == [1, 2, 0]
    assert (rig.values(), rig.committed()) == (["1", "2", "0"], 3)


def test_after_an_abort_what_was_finished_above_a_hanging_message_is_not_handled_again() -> None:
    rig, seen = by_key()
    rig.send("0", "1", "2")
    at_once(rig)
    commit(rig)
    producer_of(rig).fail_commits()
    rig.send("3")
    at_once(rig)
    commit(rig)
    rig.pool.stuck = set()
    at_once(rig)
    commit(rig)

    assert [seen.payloads.count(one) for one in (1, 2, 3)] == [1, 1, 2]
    assert sorted(rig.values()) == ["0", "1", "2", "3"]
    assert rig.committed() == 4


def test_where_the_broker_takes_no_maps_results_wait_for_those_in_front() -> None:
    rig, seen = by_key()
    at_once(rig)
    producer_of(rig).fail_commits(TOO_LARGE)
    rig.send("0", "1", "2")
    at_once(rig)
    commit(rig)
    before = end_of(rig)
    at_once(rig)
    commit(rig)
    assert (rig.values(), end_of(rig), rig.committed()) == ([], before, 0)
    assert sorted(seen.payloads) == [1, 1, 2, 2]
    assert rig.runner.pressure.messages == 3
    assert rig.runner.blocked is None

    rig.pool.stuck = set()
    at_once(rig)
    commit(rig)

    assert sorted(rig.values()) == ["0", "1", "2"]
    assert (rig.committed(), rig.broker.metadata(GROUP, SOURCE)) == (3, "")
    assert rig.runner.pressure.messages == 0


def test_what_waits_for_others_in_front_is_forgotten_with_its_partition() -> None:
    rig, _ = by_key()
    producer_of(rig).fail_commits(TOO_LARGE)
    rig.send("0", "1")
    for _ in range(3):
        at_once(rig)
        commit(rig)
    partition = rig.runner.partitions[SOURCE]
    assert rig.runner.committer.has(partition)

    rig.runner.lost([SOURCE])
    later(rig, 1.0)

    assert not rig.runner.committer.has(partition)


def test_what_waits_for_others_in_front_takes_part_of_what_may_be_in_flight() -> None:
    rig, seen = by_key({"in_flight": {"messages": 4}})
    producer_of(rig).fail_commits(TOO_LARGE)
    rig.send("0", *map(str, range(1, 20)))
    for _ in range(20):
        at_once(rig)
        commit(rig)

    assert rig.runner.pressure.messages == 4
    assert set(seen.payloads) == {1, 2, 3}


@pytest.mark.parametrize("committed", [True, False])
def test_after_a_commit_without_an_answer_only_what_was_not_committed_is_done_again(
    *, committed: bool
) -> None:
    seen = Seen()
    rig = exactly(seen.handler())
    at_once(rig)
    rig.send("1", "2")
    at_once(rig)
    producer_of(rig).lose_answer(committed=committed)
    rig.clock.advance(INTERVAL)
    rig.runner.step()
    blocked = rig.runner.blocked

    later(rig, 60)
    commit(rig)

    assert blocked is not None
    assert (rig.values(), rig.committed()) == (["1", "2"], 2)
    assert seen.payloads == ([1, 2] if committed else [1, 2, 1, 2])
    rig.send("3")
    at_once(rig)
    commit(rig)
    assert (rig.values(), rig.committed(), rig.runner.blocked) == (["1", "2", "3"], 3, None)


def test_after_a_commit_without_an_answer_the_map_is_kept_that_it_has_left() -> None:
    rig, seen = by_key()
    rig.send("0", "1", "2")
    at_once(rig)
    producer_of(rig).lose_answer(committed=True)
    commit(rig)
    rig.pool.stuck = set()
    later(rig, 60)
    commit(rig)

    assert [seen.payloads.count(one) for one in (1, 2)] == [1, 1]
    assert (rig.values(), rig.committed()) == (["1", "2", "0"], 3)


def test_a_message_whose_record_is_refused_is_the_only_one_that_is_given_up() -> None:
    rig = exactly(settings={"dead_letter": "dlq"})
    rig.broker.topics["target"].max_message_bytes = 80
    rig.send("1", "2" * 15, "3")
    for _ in range(3):
        at_once(rig)
        commit(rig)

    (letter,) = letters(rig)
    assert letter["dlq.reason"] == b"too_large"
    assert (rig.values(), rig.committed()) == (["1", "3"], 3)
    assert rig.runner.blocked is None


def test_what_is_open_is_committed_before_a_partition_goes() -> None:
    rig = exactly(partitions=2)
    at_once(rig)
    rig.send("1")
    rig.send("2", partition=1)
    at_once(rig)
    assert rig.values() == []

    another = rig.broker.consumer(GROUP)
    another.subscribe(["source"], rig.runner)
    rig.runner.step()

    assert len(rig.runner.partitions) == 1
    assert sorted(rig.values()) == ["1", "2"]
    assert (rig.committed(0), rig.committed(1)) == (1, 1)


def test_what_cannot_be_committed_is_aborted_before_a_partition_goes() -> None:
    rig = exactly(partitions=2)
    at_once(rig)
    rig.send("1")
    rig.send("2", partition=1)
    at_once(rig)

    producer_of(rig).fail_commits("a reason")
    rig.runner.revoked([OTHER])
    for number in range(2):
        rig.broker.append("target", b"behind", partition=number)

    assert rig.values() == ["behind", "behind"]
    assert (rig.committed(0), rig.committed(1)) == (0, 0)
    assert (rig.counts.commit_failures, rig.counts.aborts) == (1, 1)


def test_what_is_open_is_aborted_before_anything_else_when_a_partition_is_lost() -> None:
    rig = exactly(partitions=2)
    at_once(rig)
    rig.send("1")
    rig.send("2", partition=1)
    at_once(rig)

    rig.runner.lost([OTHER])
    for number in range(2):
        rig.broker.append("target", b"behind", partition=number)

    assert rig.values() == ["behind", "behind"]
    assert rig.counts.aborts == 1


def test_nothing_counts_of_a_partition_that_was_lost_and_the_others_do_theirs_again() -> None:
    seen = Seen()
    rig = exactly(seen.handler(), partitions=2)
    at_once(rig)
    rig.send("1")
    rig.send("2", partition=1)
    at_once(rig)

    rig.runner.lost([OTHER])
    at_once(rig)
    commit(rig)
    at_once(rig)
    commit(rig)

    assert rig.values() == ["1"]
    assert (rig.committed(0), rig.committed(1)) == (1, 0)
    assert sorted(seen.payloads) == [1, 1, 2]
    assert rig.runner.blocked is None


def test_a_member_that_was_taken_for_dead_writes_nothing_that_another_writes_too() -> None:
    rig = exactly()
    at_once(rig)
    rig.send("1", "2")
    at_once(rig)

    rig.consumer.expire()
    for _ in range(3):
        at_once(rig)
        commit(rig)

    assert (rig.values(), rig.committed()) == (["1", "2"], 2)


def test_a_drained_pipeline_has_committed_everything() -> None:
    rig = exactly()
    at_once(rig)
    rig.send("1", "2")
    at_once(rig)

    assert rig.runner.drain()

    assert (rig.values(), rig.committed()) == (["1", "2"], 2)


def test_a_drain_whose_commit_fails_does_not_wait_for_what_will_not_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = exactly()
    at_once(rig)
    rig.send("1", "2")
    at_once(rig)
    producer_of(rig).fail_commits("a reason", times=100)

    assert not rig.runner.drain()

    assert (rig.values(), rig.committed()) == ([], 0)
    assert "they will be handled again: a reason" in caplog.text


RETRY: dict[str, Any] = {
    "ordering": "key",
    "dead_letter": "dlq",
    "retry": {"topics": ["1m"], "attempts": 1},
}


@pytest.mark.parametrize("is_done", [True, False])
def test_retry_records_and_fences_are_of_the_transaction_of_their_message(*, is_done: bool) -> None:
    rig = exactly(Flaky({1: 1}).handler(), RETRY)
    at_once(rig)
    if not is_done:
        producer_of(rig).fail_commits("a reason")
    for value in (b"1", b"2"):
        rig.broker.append("source", value, b"key")
    at_once(rig)
    tier, fences = retry_topic(GROUP, 0), fence_topic(GROUP)
    before = [len(rig.values(topic)) for topic in (tier, fences)]

    rig.clock.advance(INTERVAL)
    rig.runner.step()

    assert before == [0, 0]
    assert [len(rig.values(topic)) for topic in (tier, fences)] == ([2, 1] if is_done else [0, 0])
    assert rig.committed() == (2 if is_done else 0)
    for _ in range(8):
        later(rig, 60)
        commit(rig)
    assert (rig.values(), rig.committed()) == (["1", "2"], 2)
    partition = rig.runner.partitions[SOURCE]
    assert not partition.fences
    assert len(rig.values(fences)) == (2 if is_done else 0)


def test_who_owns_a_partition_is_committed_before_its_messages_are_handled() -> None:
    rig = exactly()
    rig.send("1")
    rig.pool.hold = True
    at_once(rig)

    note = envelope.note_of(rig.broker.metadata(GROUP, SOURCE), 0)

    assert note.owner == rig.floor.process


def test_a_partition_without_messages_is_committed_once_a_second_although_others_have_some() -> (
    None
):
    rig = exactly(partitions=2)
    at_once(rig)
    rig.broker.append_gap(OTHER, 1)
    found = []
    for number in range(12):
        rig.send(str(number))
        commit(rig)
        found.append(rig.committed(1))

    assert found[:9] == [0] * 9
    assert found[-1] == 1


def test_a_transaction_stays_open_for_its_interval_be_it_longer_than_offsets_wait() -> None:
    rig = exactly(settings={"transaction": {"interval": "5s"}}, partitions=2)
    at_once(rig)
    rig.broker.append_gap(OTHER, 1)
    found = []
    for number in range(1, 8):
        rig.send(str(number))
        later(rig, 0.9)
        found.append((len(rig.values()), rig.committed(1)))

    assert found[:5] == [(0, 0)] * 5
    assert found[-1] == (6, 1)


def test_nothing_is_committed_when_nothing_has_changed() -> None:
    rig = exactly()
    rig.send("1")
    at_once(rig)
    for _ in range(3):
        later(rig, 1.0)
    before = rig.counts.commits
    for _ in range(10):
        later(rig, 1.0)

    assert rig.counts.commits == before


def test_a_pipeline_goes_on_after_brokers_that_were_away_for_longer_than_a_transaction() -> None:
    rig = exactly()
    at_once(rig)
    rig.send("1", "2")
    at_once(rig)
    rig.broker.stop()
    commit(rig)
    for _ in range(5):
        later(rig, 60)
    blocked = rig.runner.blocked

    rig.broker.start()
    for _ in range(3):
        later(rig, 60)
        commit(rig)

    assert blocked is not None
    assert (rig.values(), rig.committed(), rig.runner.blocked) == (["1", "2"], 2, None)


def test_who_finds_no_brokers_at_the_start_begins_when_they_are_there() -> None:
    broker = MemoryBroker(ManualClock())
    broker.stop()
    rig = exactly(broker=broker)
    at_once(rig)

    broker.start()
    rig.send("1")
    at_once(rig)
    commit(rig)

    assert (rig.values(), rig.committed()) == (["1"], 1)


def test_an_identity_is_taken_over_only_once_the_group_has_let_the_member_in() -> None:
    rig, owner = exactly(), object()
    rig.broker.transactions.take_over(rig.identity, owner)
    before = rig.broker.transactions.owns(rig.identity, owner)
    at_once(rig)

    assert before
    assert not rig.broker.transactions.owns(rig.identity, owner)
    rig.send("1")
    at_once(rig)
    commit(rig)
    assert rig.values() == ["1"]


def test_who_is_in_the_group_no_more_takes_no_identity_over() -> None:
    rig, owner = exactly(), object()
    at_once(rig)
    rig.send("1")
    at_once(rig)
    rig.runner.lost([SOURCE])
    rig.broker.transactions.take_over(rig.identity, owner)

    later(rig, 1.0)

    assert rig.counts.rewinds == 1
    assert rig.broker.transactions.owns(rig.identity, owner)


def test_a_map_that_was_taken_outlives_one_that_is_too_long() -> None:
    rig, _ = by_key()
    rig.pool.stuck = {b"0", b"2"}
    rig.send("0", "1", "2", "3")
    at_once(rig)
    commit(rig)
    producer_of(rig).fail_commits(TOO_LARGE)
    rig.send("4")
    for _ in range(3):
        at_once(rig)
        later(rig, 1.0)
    rig.pool.stuck = {b"2"}
    for _ in range(3):
        at_once(rig)
        later(rig, 1.0)
    assert sorted(rig.values()) == ["1", "3"]

    rig.restart()
    rig.pool.stuck = set()
    for _ in range(3):
        at_once(rig)
        later(rig, 1.0)

    assert sorted(rig.values()) == ["0", "1", "2", "3", "4"]
    assert rig.committed() == 5


def test_what_fences_say_in_a_transaction_of_an_owner_that_was_killed_is_waited_for() -> None:
    settings = {**RETRY, "transaction": {"timeout": "5s"}}
    rig = exactly(Flaky({1: 1}).handler(), settings)
    rig.broker.append("source", b"1", b"key")
    at_once(rig)
    assert end_of(rig, fence_topic(GROUP)) == 1
    rig.consumer.kill()
    rig.consumer.expire()
    begun = rig.clock.monotonic()

    heir = exactly(settings=settings, broker=rig.broker)
    at_once(heir)
    later(heir, 2 * INTERVAL)

    assert rig.clock.monotonic() >= begun + 5
    assert (heir.values(), heir.committed()) == (["1"], 1)


def test_who_cannot_wait_for_the_fences_of_another_takes_no_partition_over() -> None:
    rig = exactly(Flaky({1: 1}).handler(), RETRY)
    rig.broker.append("source", b"1", b"key")
    at_once(rig)
    rig.consumer.kill()
    rig.consumer.expire()

    heir = exactly(settings=RETRY, broker=rig.broker)

    with pytest.raises(ClientError, match="a transaction stays open"):
        heir.runner.step()


def test_where_the_broker_takes_no_maps_nothing_passes_what_waits_itself() -> None:
    rig, _ = by_key()
    at_once(rig)
    producer_of(rig).fail_commits(TOO_LARGE)
    rig.send("9")
    at_once(rig)
    commit(rig)
    at_once(rig)
    commit(rig)
    rig.send("0", "1", "2", "3", "4")
    for stuck in ([b"0", b"2", b"3"], [b"0", b"3"], [b"3"]):
        rig.pool.stuck = {*stuck}
        at_once(rig)
        commit(rig)
    assert (rig.values(), rig.committed()) == (["9", "0"], 2)

    rig.pool.stuck = set()
    at_once(rig)
    commit(rig)

    assert sorted(rig.values()) == ["0", "1", "2", "3", "4", "9"]
    assert rig.committed() == 6


def wait_a_minute(rig: Rig) -> None:
    """Until what waits in the retry topic is due, and a little longer."""
    for _ in range(65):
        later(rig, 1.0)


def test_where_the_broker_takes_no_maps_no_message_waits_for_a_fence_that_waits_for_it() -> None:
    rig = exactly(Flaky({1: 1}).handler(), RETRY)
    rig.pool.size = 100
    at_once(rig)
    producer_of(rig).fail_commits(TOO_LARGE)
    send(rig, 9, key=b"other")
    for _ in range(3):
        at_once(rig)
        commit(rig)
    send(rig, 1, key=b"fenced")
    at_once(rig)
    for _ in range(3):
        later(rig, 1.0)
    rig.pool.stuck = {b"5", b"6"}
    send(rig, 5, key=b"slow")
    send(rig, 2, key=b"fenced")
    wait_a_minute(rig)
    send(rig, 3, key=b"fenced")
    send(rig, 6, key=b"slow too")
    later(rig, 1.0)
    assert rig.values() == ["9", "1"]

    rig.pool.stuck = set()
    for _ in range(3):
        wait_a_minute(rig)

    assert sorted(rig.values()) == ["1", "2", "3", "5", "6", "9"]
    assert rig.committed() == 6


def test_what_is_stored_is_not_in_flight_any_more_although_its_transaction_is_open() -> None:
    rig = exactly(settings={"in_flight": {"messages": 2}})
    rig.send("1", "2", "3", "4", "5")
    at_once(rig)
    before = (end_of(rig), rig.values(), rig.runner.pressure.messages)

    commit(rig)

    assert before == (5, [], 0)
    assert (rig.values(), rig.committed()) == (["1", "2", "3", "4", "5"], 5)


def test_a_runner_that_has_nothing_to_do_wakes_for_its_transaction() -> None:
    rig = exactly(settings={"transaction": {"interval": "40ms"}})
    rig.send("1")
    at_once(rig)

    assert rig.runner._poll_wait() == pytest.approx(0.04)
    rig.clock.advance(0.03)
    assert rig.runner._poll_wait() == pytest.approx(0.01)
