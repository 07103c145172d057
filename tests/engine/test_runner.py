"""What a pipeline promises, on the memory broker and with time that is moved by hand."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.engine.rig import GROUP, Rig
from tests.kafka.transacting import ignore
from worker.engine.partition import POLL_LIMIT
from worker.engine.runner import SIP_AFTER
from worker.errors import ClientError, Reject
from worker.flow import envelope
from worker.observe.tracing import TraceContext
from worker.settings import GroupSettings
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.consumer import MemoryConsumer
from worker.testing.memory.producer import QUEUE, MemoryProducer
from worker.testing.memory.transactional import MemoryTransactional
from worker.types import Encoded, Message, Record, StoredMessage, TopicPartition

SOURCE = TopicPartition("source", 0)


class RefusingBroker(MemoryBroker):
    """A broker in memory that never takes some records."""

    def __init__(self, error: str, when: Callable[[Encoded], bool]) -> None:
        super().__init__(ManualClock())
        self._refusal = error, when

    def producer(self, *, queue: int = QUEUE, **_settings: Any) -> MemoryProducer:
        producer = super().producer(queue=queue)
        error, when = self._refusal
        producer.fail_next(error, 1_000, when)
        return producer


class BatchingProducer(MemoryProducer):
    """Sends what waits as one batch, which is refused as a whole for one bad record."""

    def __init__(self, broker: MemoryBroker, is_bad: Callable[[Encoded], bool]) -> None:
        super().__init__(broker)
        self._is_bad = is_bad
        self._spoilt = False
        self.hold_deliveries()

    def poll(self, timeout: float) -> int:
        self._spoilt = any(self._is_bad(one.record) for one in self._queue)
        self.release()
        served = super().poll(timeout)
        self.hold_deliveries()
        return served

    def _refusal(self, record: Encoded) -> str | None:
        return "INVALID_RECORD: one is" if self._spoilt else super()._refusal(record)


class BatchingRig(Rig):
    """A pipeline whose producers send batches, but for those that send each record alone."""

    is_alone: bool

    def _make_producer(self, *, alone: bool) -> MemoryProducer:
        self.is_alone = alone
        self.producer = producer = super()._make_producer(alone=alone)
        if alone:
            producer.fail_next("INVALID_RECORD: it is", 1_000, _is_bad)
        else:
            self.producer = BatchingProducer(self.broker, _is_bad)
        return self.producer


def _is_bad(record: Encoded) -> bool:
    return record.topic == "target" and record.value == b"2"


def same(payload: Any) -> Any:
    return payload


def choosy(payload: int) -> int | None:
    if payload % 3 == 0:
        return None
    if payload % 5 == 0:
        raise ValueError("five")
    return payload


def test_results_are_produced_with_the_key_of_their_message() -> None:
    rig = Rig(same)
    rig.send("1", "2")

    rig.step()

    records = rig.broker.records("target")
    assert [(record.key, record.value) for record in records] == [(b"1", b"1"), (b"2", b"2")]


def test_a_handler_may_use_again_what_it_has_returned() -> None:
    result: dict[str, Any] = {}

    def same_object(payload: int) -> dict[str, Any]:
        result["of"] = payload
        return result

    rig = Rig(same_object)
    rig.send("1", "2", "3")

    rig.step()

    assert rig.values() == ['{"of":1}', '{"of":2}', '{"of":3}']


def test_every_message_is_accounted_for_as_result_filtered_or_dead_letter() -> None:
    rig = Rig(choosy, {"dead_letter": "dlq"})
    rig.send(*map(str, range(100)))

    rig.step()

    filtered, failed = 34, 13
    assert rig.counts.filtered == filtered
    assert rig.counts.dead_lettered == {"handler_error": failed}
    assert len(rig.values()) == rig.counts.produced == 100 - filtered - failed
    assert len(rig.values("dlq")) == failed
    assert rig.committed() == 100


def test_an_offset_is_not_committed_before_its_result_is_acknowledged() -> None:
    rig = Rig(same)
    rig.producer.hold_deliveries()
    rig.send("1", "2")

    rig.step()
    assert rig.committed() in (None, 0)

    rig.producer.release()
    rig.step()
    assert rig.committed() == 2


def test_an_offset_is_not_committed_before_its_dead_letter_is_acknowledged() -> None:
    rig = Rig(choosy, {"dead_letter": "dlq"})
    rig.producer.hold_deliveries()
    rig.send("5")

    rig.step()
    assert rig.committed() in (None, 0)

    rig.producer.release()
    rig.step()
    assert rig.committed() == 1
    assert rig.values("dlq") == ["5"]


def test_after_a_failed_delivery_everything_from_the_committable_offset_is_done_again() -> None:
    rig = Rig(same)
    rig.send("1", "2", "3")
    rig.producer.fail_next(when=lambda record: record.value == b"2")

    rig.step()
    assert rig.runner.blocked is not None
    assert rig.committed() in (None, 0)

    rig.clock.advance(60)
    rig.step()

    assert rig.runner.blocked is None
    assert set(rig.values()) == {"1", "2", "3"}
    assert rig.committed() == 3
    assert rig.counts.rewinds == 1


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_of_what_has_failed_to_deliver_nothing_is_left_once_another_has_taken_over(
    delivery: str, no_collection: None
) -> None:
    rig = Rig(same, {"delivery": delivery})
    rig.runner.step()
    rig.send("1", "2", "3")
    rig.producer.fail_next(when=lambda record: record.value == b"2")
    left = weakref.ref(rig.runner.committer)

    rig.step()
    rig.clock.advance(60)
    rig.step()

    assert rig.committed() == 3
    assert left() is None


def test_a_dead_letter_that_cannot_be_produced_holds_the_offset_and_says_so() -> None:
    rig = Rig(choosy, {"dead_letter": "dlq"})
    rig.send("5")
    rig.producer.fail_next("TOPIC_AUTHORIZATION_FAILED")

    rig.step()

    assert "TOPIC_AUTHORIZATION_FAILED" in (rig.runner.blocked or "")
    assert rig.committed() in (None, 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("INVALID_TIMESTAMP: out of range", b"unencodable"),
        ("INVALID_RECORD: no key", b"unencodable"),
        ("_UNKNOWN_PARTITION: no such partition", b"unencodable"),
        ("MSG_SIZE_TOO_LARGE: the batch is", b"too_large"),
    ],
)
def test_a_record_that_brokers_will_never_take_makes_its_message_a_dead_letter(
    error: str, reason: bytes
) -> None:
    broker = RefusingBroker(error, lambda record: record.topic == "target" and record.key == b"2")
    rig = Rig(same, {"dead_letter": "dlq"}, broker)
    rig.send("1", "2", "3")

    rig.step(10)

    (letter,) = rig.broker.records("dlq")
    assert letter.value == b"2"
    assert dict(letter.headers)["dlq.reason"] == reason
    assert dict(letter.headers)["dlq.message"] == error.encode()
    assert set(rig.values()) == {"1", "3"}
    assert rig.committed() == 3
    assert rig.runner.blocked is None


def test_a_message_whose_record_spoils_its_batch_is_the_only_one_that_is_given_up() -> None:
    rig = BatchingRig(same, {"dead_letter": "dlq", "ordering": "none"})
    rig.pool.size = 3
    rig.send("1", "2", "3")

    rig.step(6)

    assert rig.values("dlq") == ["2"]
    assert set(rig.values()) == {"1", "3"}
    assert rig.committed() == 3


def test_records_are_sent_in_batches_again_once_those_are_through_that_came_again() -> None:
    rig = BatchingRig(same, {"dead_letter": "dlq"})
    rig.send("1", "2", "3")
    rig.step(2)
    assert rig.is_alone

    rig.step(6)
    rig.send("4")
    rig.step()

    assert not rig.is_alone
    assert rig.values()[-1] == "4"
    assert rig.committed() == 4


class Unwelcome(MemoryConsumer):
    """A member whose topics cannot be subscribed to."""

    is_closed = False

    def subscribe(self, *_given: Any, **_named: Any) -> None:
        raise ClientError("no such pattern")

    def close(self) -> None:
        self.is_closed = True
        super().close()


def test_who_cannot_subscribe_lets_go_of_all_its_clients_and_is_no_hindrance_to_others() -> None:
    rig = Rig(same)
    rig.runner.close()
    consumer = Unwelcome(rig.broker, GROUP, "read_committed", GroupSettings(), None)
    rig._clients = replace(rig._clients, consumer=lambda: consumer)

    with pytest.raises(ClientError, match="no such pattern"):
        rig.join_again()

    assert consumer.is_closed
    with pytest.raises(ClientError, match="is closed"):
        rig.producer.send([Encoded("target", b"1")], ignore, ignore)
    floor = rig._job.floor
    assert floor.is_alone(floor.ask("another pipeline"))


def test_a_pipeline_reads_again_that_finds_no_producer_to_go_back_to() -> None:
    rig = BatchingRig(same, {"dead_letter": "dlq"})
    rig.send("1", "2", "3")
    rig.step(2)
    make = rig._make_producer

    def none(*, alone: bool) -> MemoryProducer:
        if not alone:
            raise ClientError("no producer")
        return make(alone=alone)

    rig.runner._clients = replace(rig._clients, producer=none)
    rig.step(6)
    assert rig.runner.blocked == "no producer"

    rig.runner._clients = rig._clients
    rig.clock.advance(60)
    rig.send("4")
    rig.step()

    assert rig.runner.blocked is None
    assert rig.values("dlq") == ["2"]
    assert rig.committed() == 4


def test_a_message_whose_record_is_refused_goes_to_the_topic_of_the_reason() -> None:
    broker = RefusingBroker("MSG_SIZE_TOO_LARGE", lambda record: record.topic == "target")
    by = {"too_large": "invalid", "Exception": "nowhere"}
    rig = Rig(same, {"dead_letter": {"default": "dlq", "by": by}}, broker)
    rig.send("1")

    rig.step()

    assert rig.values("invalid") == ["1"]
    assert rig.values("dlq") == []


def test_every_record_that_is_refused_is_found_without_waiting() -> None:
    def twice(payload: int) -> list[Any]:
        return [Record("same", headers=[("number", str(payload))]), None, "same"]

    refused = {("number", number.encode()) for number in "369"}
    broker = RefusingBroker("INVALID_RECORD", lambda record: not refused.isdisjoint(record.headers))
    rig = Rig(twice, {"dead_letter": "dlq"}, broker)
    rig.send(*map(str, range(10)))

    rig.step(40)

    assert rig.values("dlq") == ["3", "6", "9"]
    assert rig.counts.rewinds == 4
    assert rig.counts.produced == 14
    assert rig.committed() == 10


def test_a_record_refused_once_is_sent_again_since_what_was_known_of_its_topic_may_be_old() -> None:
    rig = Rig(same, {"dead_letter": "dlq"})
    rig.send("1", "2")
    rig.producer.fail_next("MSG_SIZE_TOO_LARGE")

    rig.step()

    assert set(rig.values()) == {"1", "2"}
    assert rig.values("dlq") == []
    assert rig.counts.rewinds == 1


def test_without_dead_letters_a_refused_record_stops_the_pipeline_in_front_of_its_message() -> None:
    broker = RefusingBroker("INVALID_TIMESTAMP", lambda record: record.value == b"2")
    rig = Rig(same, broker=broker)
    rig.send("1", "2", "3")

    rig.step()
    rig.runner.drain()

    assert "source[0]@1) could not be handled: unencodable" in (rig.runner.failed or "")
    assert rig.committed() == 1


def test_a_dead_letter_that_is_refused_holds_the_offset_and_is_not_told_of() -> None:
    broker = MemoryBroker(ManualClock())
    broker.create("dlq", 1, max_message_bytes=10)
    rig = Rig(choosy, {"dead_letter": "dlq"}, broker)
    rig.send("5")

    for _ in range(3):
        rig.step()
        rig.clock.advance(60)

    assert rig.runner.blocked is not None
    assert rig.committed() in (None, 0)
    assert rig.counts.rewinds > 1
    assert rig.groups.latest_first() == ()
    assert not rig.runner.settlement.failures


def test_the_pipeline_is_ready_again_when_what_was_read_again_is_finished_without_records() -> None:
    payloads: list[Any] = []

    def once(payload: Any) -> Any:
        payloads.append(payload)
        return payload if len(payloads) == 1 else None

    rig = Rig(once)
    rig.send("1")
    rig.producer.fail_next()

    rig.step()
    assert rig.runner.blocked is not None
    rig.clock.advance(60)
    rig.step()

    assert rig.runner.blocked is None
    assert rig.committed() == 1


def test_waits_grow_while_deliveries_go_on_failing() -> None:
    rig = Rig(same)
    rig.send("1")
    made = len(rig.broker.producers)
    for _ in range(4):
        rig.producer.fail_next()
        rig.step()
        rig.clock.advance(0.6)
        rig.step()

    assert len(rig.broker.producers) - made < 4


def test_a_full_queue_loses_and_doubles_nothing() -> None:
    rig = Rig(same, queue=3)
    numbers = [str(number) for number in range(50)]
    rig.send(*numbers)

    rig.step(60)

    assert rig.values() == numbers
    assert rig.committed() == 50


def test_without_dead_letters_the_pipeline_stops_in_front_of_the_message_it_cannot_handle() -> None:
    rig = Rig(choosy)
    rig.send("1", "2", "5", "7")

    rig.step()
    rig.runner.drain()

    assert "source[0]@2" in (rig.runner.failed or "")
    assert "dead_letter" in (rig.runner.failed or "")
    assert rig.values() == ["1", "2"]
    assert rig.committed() == 2


def test_skipped_messages_are_counted_and_passed() -> None:
    rig = Rig(choosy, {"on_error": "skip"})
    rig.send("1", "5", "7")

    rig.step()

    assert rig.values() == ["1", "7"]
    assert rig.counts.skipped == {"handler_error": 1}
    assert rig.committed() == 3


def test_rejected_and_undecodable_messages_become_dead_letters_with_their_reason() -> None:
    def rejecting(payload: int) -> int:
        raise Reject(f"no {type(payload).__name__} here")

    rig = Rig(rejecting, {"dead_letter": "dlq"})
    rig.send("1", "{broken")

    rig.step()

    reasons = [dict(letter.headers)["dlq.reason"] for letter in rig.broker.records("dlq")]
    assert reasons == [b"rejected", b"undecodable"]


def test_results_that_cannot_be_encoded_or_are_too_large_become_dead_letters() -> None:
    def awkward(payload: int) -> Any:
        return object() if payload else "x" * 2_000_000

    rig = Rig(awkward, {"dead_letter": "dlq"})
    rig.send("0", "1")

    rig.step()

    reasons = [dict(letter.headers)["dlq.reason"] for letter in rig.broker.records("dlq")]
    assert reasons == [b"too_large", b"unencodable"]
    assert rig.values("dlq") == ["0", "1"]


def test_order_within_a_partition_is_kept() -> None:
    rig = Rig(same, partitions=3)
    for partition in range(3):
        rig.send(*(str(1000 * partition + number) for number in range(700)), partition=partition)

    rig.step(20)

    produced: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for record in rig.broker.records("target"):
        value = int(record.value or b"")
        produced[value // 1000, record.partition].append(value)
    assert all(values == sorted(set(values)) for values in produced.values())
    assert sum(map(len, produced.values())) == 2100
    assert [rig.committed(partition) for partition in range(3)] == [700, 700, 700]


def test_offsets_are_committed_by_time_or_as_soon_as_enough_are_finished() -> None:
    rig = Rig(same, {"commit": {"interval": "1h", "messages": 3}})
    rig.send("1", "2")
    for _ in range(4):
        rig.runner.step()
    assert rig.committed() in (None, 0)

    rig.send("3")
    for _ in range(4):
        rig.runner.step()
    assert rig.committed() == 3


def test_fetching_pauses_at_the_bound_and_goes_on_when_half_is_done() -> None:
    rig = Rig(same, {"in_flight": {"messages": 10}})
    rig.pool.hold = True
    rig.send(*map(str, range(100)))

    rig.step()
    rig.step()
    (partition,) = rig.runner.partitions.values()
    assert partition.in_flight == 10
    assert partition.paused

    rig.pool.hold = False
    rig.step(40)
    assert rig.committed() == 100
    assert not partition.paused


def test_while_handlers_have_enough_and_there_is_room_nothing_is_paused() -> None:
    """But for the membership some messages are polled."""
    rig = Rig(same, {"in_flight": {"messages": 5_000}})
    rig.pool.hold = True
    rig.send(*map(str, range(2_000)))

    rig.step(20)
    (partition,) = rig.runner.partitions.values()
    enough = partition.in_flight
    for _ in range(20):
        rig.clock.advance(SIP_AFTER)
        rig.runner.step()

    assert POLL_LIMIT <= enough <= 3 * POLL_LIMIT
    assert 0 < partition.in_flight - enough <= 20
    assert not partition.paused


def test_what_the_client_gives_again_is_not_taken_again() -> None:
    rig = Rig(same)
    rig.pool.hold = True
    rig.send(*map(str, range(10)))
    rig.runner.step()
    (partition,) = rig.runner.partitions.values()

    rig.consumer.seek(partition.source, 4)
    rig.send("10")
    rig.runner.step()
    rig.pool.hold = False
    rig.step(20)

    assert rig.values() == [*map(str, range(11))]
    assert (rig.committed(), rig.counts.passed_over) == (11, 6)


def test_fetching_is_bounded_in_bytes_of_keys_and_values_as_well() -> None:
    rig = Rig(same, {"in_flight": {"bytes": "10kB"}})
    rig.pool.hold = True
    large = [f'"{"x" * 500}{number:04}"' for number in range(3 * POLL_LIMIT)]
    rig.send(large[0])
    rig.step()
    rig.send(*large[1:])

    rig.step(5)

    each = 2 * len(large[0])
    assert rig.runner.pressure.bytes == (10_000 // each + 1) * each
    assert rig.runner.pressure.room == 0


def test_revoked_partitions_are_finished_and_committed_before_they_go() -> None:
    rig = Rig(same, partitions=2)
    rig.send("1", "2", partition=0)
    rig.send("3", partition=1)
    for _ in range(3):
        rig.runner.step()
    other = Rig(same, broker=rig.broker, partitions=2)

    for _ in range(6):
        rig.runner.step()
        other.runner.step()

    assert sorted(rig.values()) == ["1", "2", "3"]
    assert len(rig.runner.partitions) == len(other.runner.partitions) == 1
    (moved,) = other.runner.partitions
    assert rig.committed(moved.partition) == {0: 2, 1: 1}[moved.partition]


def test_outcomes_of_a_lost_partition_are_dropped_and_nothing_is_committed() -> None:
    rig = Rig(same)
    rig.send("1")
    rig.pool.hold = True
    rig.step(2)
    rig.broker.expire(rig.consumer)
    rig.runner.step()

    rig.pool.hold = False
    rig.runner.step()

    assert rig.counts.dropped == 1
    rig.step()
    assert rig.values() == ["1"]
    assert rig.committed() == 1


def test_a_drain_finishes_what_handlers_have_and_leaves_the_rest_for_the_next_start() -> None:
    rig = Rig(same, {"in_flight": {"messages": 1000}})
    rig.send(*map(str, range(900)))
    rig.pool.hold = True
    for _ in range(3):
        rig.runner.step()
    rig.pool.hold = False

    assert rig.runner.drain()
    rig.runner.close()

    assert 0 < len(rig.values()) < 900
    assert rig.committed() == len(rig.values())
    following = Rig(same, broker=rig.broker)
    following.step(6)
    assert rig.values() == [str(number) for number in range(900)]


def test_a_commit_that_fails_is_counted_and_made_up_for() -> None:
    rig = Rig(same)
    rig.consumer.fail_commits(times=1)
    rig.send("1")

    rig.step()
    assert rig.counts.commit_failures == 1

    rig.step()
    assert rig.committed() == 1


@pytest.mark.parametrize(
    ("policy", "handled", "gap"), [("oldest", ["8", "9"], 5), ("newest", [], 7)]
)
def test_a_lost_offset_is_left_for_the_place_that_the_spec_names_and_the_gap_counted(
    policy: str, handled: list[str], gap: int
) -> None:
    first = Rig(same)
    first.send("0", "1", "2")
    first.step()
    first.runner.drain()
    first.runner.close()
    first.send(*map(str, range(3, 10)))
    first.broker.delete_records(SOURCE, 8)

    rig = Rig(same, {"on_offset_lost": policy}, broker=first.broker)
    rig.step()

    assert rig.values()[3:] == handled
    assert rig.counts.lost_offsets == gap


def test_what_is_in_flight_when_the_offset_is_lost_is_handled_and_not_counted_as_lost() -> None:
    rig = Rig(same, {"on_offset_lost": "oldest", "in_flight": {"messages": 200}})
    rig.send(*map(str, range(1000)))
    rig.pool.hold = True
    rig.step()
    taken = rig.runner.pressure.messages
    rig.broker.delete_records(SOURCE, 900)
    rig.step()

    rig.pool.hold = False
    rig.step(10)

    assert 0 < taken < 900
    assert rig.values() == [str(number) for number in (*range(taken), *range(900, 1000))]
    assert rig.counts.lost_offsets == 900 - taken
    assert rig.counts.dropped == 0
    assert rig.committed() == 1000


def test_a_log_that_has_become_shorter_is_read_from_the_place_that_the_spec_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(same, {"on_offset_lost": "oldest"})
    rig.send("0", "1", "2")
    rig.step()
    log = rig.broker.log(SOURCE)
    log.end = 0
    log._records.clear()
    rig.send("9")

    rig.step()

    assert rig.counts.lost_offsets == 0
    assert rig.committed() == 1
    assert f"{SOURCE} goes on at 0 instead of 3" in caplog.text


def test_a_lost_offset_stops_the_pipeline_when_the_spec_names_no_place() -> None:
    first = Rig(same)
    first.send("0", "1", "2")
    first.step()
    first.runner.drain()
    first.runner.close()
    first.send("3", "4")
    first.broker.delete_records(SOURCE, 4)

    rig = Rig(same, broker=first.broker)
    rig.step()

    assert "offset 3 of source[0] is no longer in the log" in (rig.runner.failed or "")


@pytest.mark.parametrize(
    ("start", "handled"),
    [
        ("oldest", ["1", "2"]),
        ("newest", []),
        (datetime.fromtimestamp(1_700_000_010, UTC).isoformat(), ["2"]),
    ],
)
def test_a_new_group_starts_where_the_spec_says(start: str, handled: list[str]) -> None:
    rig = Rig(same, {"start": start})
    rig.send("1")
    rig.clock.advance(20)
    rig.send("2")

    rig.step()

    assert rig.values() == handled


def test_the_start_is_committed_before_the_first_message_so_that_newest_stays_where_it_was() -> (
    None
):
    rig = Rig(same, {"start": "newest"})
    rig.send("1")

    rig.step()

    assert rig.committed() == 1


@pytest.mark.parametrize("start", ["newest", "2026-01-31T12:00:00Z"])
def test_a_partition_that_is_added_is_read_from_its_oldest_message(start: str) -> None:
    rig = Rig(same, {"start": start})
    rig.send("1")
    rig.step()

    rig.broker.add_partitions("source", 2)
    rig.send("2", partition=1)
    rig.step()

    assert "2" in rig.values()
    assert rig.committed(1) == 1


def test_a_group_that_begins_commits_where_all_partitions_start_whoever_has_them() -> None:
    broker = MemoryBroker(ManualClock())
    first = Rig(same, {"start": "newest"}, broker=broker, partitions=2)
    first.send("1", partition=1)
    other = Rig(same, {"start": "newest"}, broker=broker, partitions=2)

    first.step()
    only_first = [first.committed(0), first.committed(1)]
    first.send("2", partition=1)
    other.step()
    first.step()

    assert only_first == [0, 1]
    assert [len(rig.runner.partitions) for rig in (first, other)] == [1, 1]
    assert first.values() == ["2"]


def test_a_batch_is_of_one_partition_and_its_results_keep_their_keys() -> None:
    sizes = []

    def doubled(payloads: list[int]) -> list[int | None]:
        sizes.append(len(payloads))
        return [payload * 2 if payload else None for payload in payloads]

    rig = Rig(doubled, batch=3)
    rig.send("0", "1", "2", "3", "4")

    rig.step()

    assert sizes == [3, 2]
    records = rig.broker.records("target")
    assert [(record.key, record.value) for record in records] == [
        (b"1", b"2"),
        (b"2", b"4"),
        (b"3", b"6"),
        (b"4", b"8"),
    ]


def test_a_failing_batch_is_handled_message_by_message_so_that_only_the_bad_one_is_given_up() -> (
    None
):
    def picky(payloads: list[int]) -> list[int]:
        if 2 in payloads:
            raise ValueError
        return payloads

    rig = Rig(picky, {"dead_letter": "dlq"}, batch=10)
    rig.send("1", "2", "{", "3")

    rig.step()

    assert rig.values() == ["1", "3"]
    assert rig.values("dlq") == ["2", "{"]
    assert rig.committed() == 4


def test_a_batch_result_of_another_length_is_refused_with_the_legal_ones() -> None:
    def short(payloads: list[int]) -> list[int]:
        return payloads[:1]

    rig = Rig(short, {"dead_letter": "dlq"}, batch=10)
    rig.send("1", "2")

    rig.step()

    letters = rig.broker.records("dlq")
    assert len(letters) == 2
    text = dict(letters[0].headers)["dlq.message"] or b""
    assert b"a list of 1 for 2 messages" in text
    assert b"one result for each message" in text


class Spoilt(StoredMessage):
    """A record with a header name that is not UTF-8, as the client hands it over."""

    def headers(self) -> Any:
        raise SystemError("returned a result with an exception set")


def test_a_message_whose_headers_cannot_be_read_is_dead_lettered_like_others() -> None:
    rig = Rig(choosy, {"dead_letter": "dlq"}, observer=TraceContext())
    rig.send("1")
    rig.broker.log(SOURCE)._records.append(Spoilt("source", 0, 1, value=b"5"))
    rig.broker.log(SOURCE).end = 2
    rig.send("2")

    rig.step()

    assert rig.values("dlq") == ["5"]
    assert rig.values() == ["1", "2"]
    assert rig.committed() == 3


def test_a_handler_may_take_the_message_itself() -> None:
    def raw(message: Message) -> bytes | None:
        return message.value

    rig = Rig(raw)
    rig.send("{not json")

    rig.step()

    assert rig.values() == ["{not json"]


def test_gaps_in_the_log_do_not_hold_the_offset_back() -> None:
    rig = Rig(same)
    rig.send("1")
    rig.broker.append_gap(SOURCE, 3)
    rig.send("2")

    rig.step()

    assert rig.committed() == 5


def test_gaps_between_the_runs_of_one_fetch_do_not_hold_the_offset_back() -> None:
    def alone(payloads: list[int]) -> list[int]:
        return payloads

    rig = Rig(alone, batch=1)
    for value in ("1", "2", "3"):
        rig.send(value)
        rig.broker.append_gap(SOURCE)

    rig.step(10)

    assert rig.values() == ["1", "2", "3"]
    assert rig.committed() == 6
    assert rig.runner.pressure.bytes == 0


def test_control_records_at_the_end_are_committed_so_that_their_removal_loses_nothing() -> None:
    rig = Rig(same)
    rig.send("1")
    rig.broker.append_gap(SOURCE, 2)
    rig.step()
    rig.runner.drain()
    rig.runner.close()
    rig.broker.delete_records(SOURCE, 3)

    following = Rig(same, broker=rig.broker)
    following.step()

    assert rig.committed() == 3
    assert following.runner.failed is None


def test_control_records_that_were_passed_are_not_read_again_after_a_failure() -> None:
    rig = Rig(same, {"commit": {"interval": "1h"}})
    rig.send("1")
    rig.step()
    rig.broker.append_gap(SOURCE)
    rig.runner.step()
    before = rig.runner.partitions[SOURCE].tracker.committable

    rig.runner._rewind("for good")

    assert (before, rig.runner.partitions[SOURCE].tracker.committable) == (1, 2)


def test_a_drain_passes_control_records_that_came_since_the_last_commit() -> None:
    rig = Rig(same, {"commit": {"interval": "1h"}})
    rig.send("1")
    rig.broker.append_gap(SOURCE)
    rig.runner.step()

    assert rig.runner.drain()

    assert rig.committed() == 2


class Ticking(ManualClock):
    """A clock that each look moves on, so that what waits for a deadline ends."""

    def monotonic(self) -> float:
        self.advance(0.01)
        return super().monotonic()


def test_a_drain_whose_transaction_is_refused_gives_the_partitions_back_all_the_same() -> None:
    settings = {"delivery": "exactly_once", "drain_timeout": "5s"}
    rig = Rig(same, settings, MemoryBroker(Ticking()))
    rig.step()
    rig.send("1", "2")
    rig.pool.hold = True
    rig.runner.step()
    rig.runner.step()
    rig.pool.hold = False
    assert isinstance(rig.producer, MemoryTransactional)
    rig.producer.fail_commits("ILLEGAL_GENERATION")

    assert rig.runner.drain()

    assert rig.counts.rewinds == 1
    commit = rig.broker.group(GROUP).committed[TopicPartition("source", 0)]
    assert envelope.note_of(commit.metadata, commit.offset).owner == ""
    rig.join_again()
    rig.step()
    assert sorted(rig.values()) == ["1", "2"]
    assert rig.committed() == 2


def test_a_drain_that_could_not_commit_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(same, {"drain_timeout": "5s"}, MemoryBroker(Ticking()))
    rig.send("1")
    rig.runner.step()
    rig.consumer.fail_commits(times=10_000)

    assert not rig.runner.drain()
    assert rig.values() == ["1"]
    assert (
        "0 messages in flight, not committed: source[0]; they will be handled again" in caplog.text
    )
    assert caplog.text.strip().endswith("after drain_timeout: 5s")


def test_a_drain_that_waits_for_handlers_stays_a_member_of_its_group() -> None:
    settings = {"drain_timeout": "10s", "revoke_timeout": "1s"}
    rig = Rig(same, settings, MemoryBroker(Ticking()), partitions=2)
    rig.send("1", partition=0)
    rig.send("2", partition=1)
    rig.pool.hold = True
    rig.runner.step()
    Rig(same, broker=rig.broker, partitions=2)

    assert not rig.runner.drain()
    assert len(rig.runner.partitions) == 1


def test_a_drain_that_meets_a_hanging_handler_commits_what_was_finished_before() -> None:
    rig = Rig(same, {"drain_timeout": "1s"}, MemoryBroker(Ticking()))
    rig.send("1")
    rig.runner.step()
    rig.runner.step()
    rig.runner.step()
    rig.send("2")
    rig.pool.hold = True
    rig.runner.step()
    before = rig.committed()

    assert not rig.runner.drain()
    assert (before, rig.committed()) == (0, 1)


def test_messages_of_a_partition_that_is_assigned_while_a_member_drains_are_for_the_next() -> None:
    rig = Rig(same, {"drain_timeout": "3s"}, MemoryBroker(Ticking()), partitions=2)
    other = Rig(same, broker=rig.broker, partitions=2)
    for _ in range(5):
        rig.runner.step()
        other.runner.step()
    (mine,), (theirs,) = rig.runner.partitions, other.runner.partitions
    rig.pool.hold = True
    rig.send("1", partition=mine.partition)
    rig.send("2", "3", partition=theirs.partition)
    rig.runner.step()

    other.consumer.expire()
    rig.runner.drain()
    rig.runner.close()
    following = Rig(same, broker=rig.broker, partitions=2)
    following.step()

    assert theirs in rig.broker.committed(GROUP)
    assert sorted(rig.values()) == ["1", "2", "3"]


def test_nothing_is_taken_while_the_pipeline_drains() -> None:
    rig = Rig(same, {"drain_timeout": "1s"}, MemoryBroker(Ticking()))
    rig.send("1")
    rig.pool.hold = True
    rig.runner.step()
    rig.send("2")

    rig.runner.drain()

    assert rig.consumer.totals().messages_received == 1


def test_trace_headers_of_a_dead_letter_are_within_the_limit_of_its_topic() -> None:
    broker = MemoryBroker(ManualClock())
    broker.create("dlq", 1, max_message_bytes=1_300)
    rig = Rig(choosy, {"dead_letter": "dlq"}, broker, observer=TraceContext())
    rig.limits["dlq"] = 1_300
    trace = [
        ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
        ("tracestate", "s" * 1_200),
    ]
    rig.broker.append("source", b"5", headers=trace)

    rig.step()

    (letter,) = rig.broker.records("dlq")
    assert dict(letter.headers)["dlq.truncated"] == b"payload,headers"


@pytest.mark.parametrize("ordering", ["key", "partition"])
def test_a_lane_waits_for_a_handler_that_was_at_it_when_its_partition_was_read_again(
    ordering: str,
) -> None:
    seen: list[int] = []

    def handler(payload: int) -> int:
        seen.append(payload)
        return payload

    rig = Rig(handler, {"ordering": ordering}, partitions=2)
    rig.pool.size, rig.pool.stuck = 10, {b"1"}
    for value in (b"1", b"2"):
        rig.broker.append("source", value, b"key", partition=0)
    rig.broker.append("source", b"3", b"other", partition=1)
    rig.producer.fail_next(when=lambda record: record.value == b"3")
    rig.step(20)
    rig.clock.advance(60)
    rig.step(20)
    assert (seen, rig.counts.rewinds) == ([3, 3], 1)
    assert rig.pool.outstanding == len(list(rig.runner.runs)) == 1

    rig.pool.stuck = set()
    rig.step(20)

    assert (seen, rig.counts.dropped) == ([3, 3, 1, 1, 2], 1)


def test_a_lane_waits_for_a_handler_that_was_at_it_when_the_group_was_joined_again() -> None:
    seen: list[int] = []

    def handler(payload: int) -> int:
        seen.append(payload)
        return payload

    rig = Rig(handler, {"ordering": "key"})
    rig.pool.size, rig.pool.stuck = 10, {b"1"}
    for value in (b"1", b"2"):
        rig.broker.append("source", value, b"key")
    rig.step()
    rig.join_again()
    rig.step()
    assert (seen, rig.pool.outstanding) == ([], 1)

    rig.pool.stuck = set()
    rig.step()

    assert (seen, rig.values()) == ([1, 1, 2], ["1", "2"])


def test_runs_that_outlive_their_partition_are_known_in_the_order_of_their_messages() -> None:
    rig = Rig(same, {"ordering": "none"})
    rig.pool.size, rig.pool.hold = 100, True
    rig.send(*map(str, range(60)))
    rig.step()

    rig.runner.lost([SOURCE])

    offsets = [message.offset() for run in rig.late[SOURCE] for message in run.messages]
    assert offsets == [*range(60)]


def test_lost_offsets_are_made_up_for_in_the_order_in_which_they_were_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(same, {"on_offset_lost": "oldest"}, partitions=20)
    rig.step()
    caplog.clear()

    for number in range(20):
        rig.runner.offset_lost(TopicPartition("source", number))
    rig.step(1)

    told = [one.split()[1] for one in caplog.messages if "goes on at" in one]
    assert told == [f"source[{number}]" for number in range(20)]
