"""Messages that are tried again in place, on the memory broker and with time moved by hand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.flaky import Flaky, at_once, later, letters, send
from tests.engine.rig import GROUP, Rig
from worker.engine.partition import Partition, Run
from worker.errors import Reject, Retry
from worker.flow import envelope
from worker.flow.lanes import OneLane
from worker.testing import ManualClock
from worker.types import Failed, RawMessage, StoredMessage, TopicPartition

SOURCE = TopicPartition("source", 0)
BACKOFF = {"initial": "10s", "max": "1h", "jitter": 0}
RETRY = {"retry": {"attempts": 3, "backoff": BACKOFF}}
DEAD_LETTERS = {**RETRY, "dead_letter": "dlq"}

in_each_ordering = pytest.mark.parametrize("ordering", ["partition", "key", "none"])


@in_each_ordering
def test_a_message_that_fails_is_tried_again_after_its_wait_and_has_one_result(
    ordering: str,
) -> None:
    flaky = Flaky({1: 2})
    rig = Rig(flaky.handler(), {**RETRY, "ordering": ordering})
    rig.send("1")

    at_once(rig)
    assert flaky.calls == [1]
    later(rig, 9.9)
    assert flaky.calls == [1]
    later(rig, 0.1)
    assert flaky.calls == [1, 1]
    later(rig, 19.9)
    assert rig.values() == []
    later(rig, 0.1)

    assert rig.values() == ["1"]
    assert (rig.counts.handled, rig.counts.retried) == (1, 2)
    assert not rig.runner.pressure.messages
    later(rig, 1.0)
    assert rig.committed() == 1


def test_one_that_fails_in_all_attempts_is_a_dead_letter_that_tells_how_often_and_since_when() -> (
    None
):
    flaky = Flaky({1: 9})
    rig = Rig(flaky.handler(), DEAD_LETTERS)
    rig.send("1", "2")
    at_once(rig)
    begun = int(rig.clock.time() * 1000)

    later(rig, 10.0)
    later(rig, 20.0)

    assert flaky.calls == [1, 1, 1, 2]
    (headers,) = letters(rig)
    assert headers["dlq.reason"] == b"handler_error"
    assert headers["dlq.error"] == b"OSError"
    assert headers["dlq.attempts"] == b"3"
    assert headers["dlq.first_failure"] == str(begun).encode()
    assert rig.values() == ["2"]


def test_a_message_that_is_rejected_in_a_later_attempt_tells_of_the_earlier_ones() -> None:
    errors = iter([OSError(), Reject("no")])
    flaky = Flaky({1: 9}, lambda: next(errors))
    rig = Rig(flaky.handler(), DEAD_LETTERS)
    rig.send("1")
    at_once(rig)
    begun = int(rig.clock.time() * 1000)

    later(rig, 10.0)

    (headers,) = letters(rig)
    assert headers["dlq.reason"] == b"rejected"
    assert headers["dlq.attempts"] == b"2"
    assert headers["dlq.first_failure"] == str(begun).encode()


def test_what_failed_before_and_succeeds_is_forgotten_with_its_message() -> None:
    rig = Rig(Flaky({1: 1}).handler(), RETRY)
    rig.send("1")
    at_once(rig)
    (partition,) = rig.runner.partitions.values()
    remembered = bool(partition.attempts)

    later(rig, 10.0)

    assert remembered
    assert not partition.attempts


@pytest.mark.parametrize("value", ["{", '"rejected"'])
def test_what_would_fail_again_is_not_tried_again(value: str) -> None:
    def reject(payload: Any) -> None:
        raise Reject(payload)

    rig = Rig(reject, DEAD_LETTERS)
    rig.send(value)

    at_once(rig)

    assert rig.values("dlq") == [value]
    assert letters(rig)[0]["dlq.attempts"] == b"1"
    assert rig.counts.retried == 0


def test_only_the_exceptions_that_are_named_are_tried_again() -> None:
    def failing(payload: int) -> None:
        raise [ConnectionError, ValueError][payload]

    retry = {**RETRY["retry"], "on": ["OSError"]}
    rig = Rig(failing, {**DEAD_LETTERS, "retry": retry, "ordering": "none"})
    rig.send("0", "1")

    at_once(rig)

    assert rig.values("dlq") == ["1"]
    assert rig.counts.retried == 1


# --- order ---


def test_in_a_partition_nothing_is_handled_before_the_one_that_waits() -> None:
    flaky = Flaky({2: 1})
    rig = Rig(flaky.handler(), RETRY)
    rig.send("1", "2", "3", "4")

    at_once(rig)
    assert flaky.calls == [1, 2]
    assert rig.values() == ["1"]
    rig.send("5")
    later(rig, 10.0)

    assert flaky.calls == [1, 2, 2, 3, 4, 5]
    assert rig.values() == ["1", "2", "3", "4", "5"]


def test_other_partitions_go_on_while_one_waits() -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), RETRY, partitions=2)
    rig.send("1", "2", partition=0)
    rig.send("3", "4", partition=1)

    rig.step()

    assert sorted(rig.values()) == ["3", "4"]
    assert (rig.committed(0), rig.committed(1)) == (0, 2)


def test_other_keys_go_on_while_one_waits_and_their_place_is_noted_beside_the_offset() -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), {**RETRY, "ordering": "key"})
    send(rig, 1, 2, key=b"a")
    send(rig, 3, 4, key=b"b")

    rig.step(9)
    assert flaky.calls == [1, 3, 4]
    commit = rig.broker.group(GROUP).committed[SOURCE]
    assert commit.offset == 0
    assert envelope.decode(commit.metadata, 0) == [(2, 4)]
    later(rig, 10.0)

    assert flaky.calls == [1, 3, 4, 1, 2]
    assert rig.values() == ["3", "4", "1", "2"]


def test_without_order_everything_else_goes_on() -> None:
    flaky = Flaky({1: 1, 3: 2})
    rig = Rig(flaky.handler(), {**RETRY, "ordering": "none"})
    rig.send("1", "2", "3", "4")

    at_once(rig, 12)
    later(rig, 10.0)
    later(rig, 20.0)

    assert flaky.calls == [1, 2, 3, 4, 1, 3, 3]
    assert rig.values() == ["2", "4", "1", "3"]


@in_each_ordering
def test_of_runs_with_many_messages_those_that_fail_come_again_in_their_order(
    ordering: str,
) -> None:
    """As process pools have them: many keys in a run, some of which fail in its middle."""
    flaky = Flaky({1: 1, 4: 2, 5: 2, 8: 1})
    rig = Rig(flaky.handler(), {**RETRY, "ordering": ordering})
    rig._job = replace(rig._job, run_limit=100)
    rig.restart()
    for value in range(12):
        send(rig, value, key=b"%d" % (value % 4))

    for _ in range(20):
        later(rig, 10.0)

    assert sorted(rig.values(), key=int) == [str(value) for value in range(12)]
    assert rig.committed() == 12
    by_lane = defaultdict(list)
    for value in map(int, rig.values()):
        by_lane[{"partition": 0, "key": value % 4, "none": value}[ordering]].append(value)
    assert all(lane == sorted(lane) for lane in by_lane.values())


def test_an_idle_pipeline_polls_until_the_first_message_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flaky = Flaky({1: 1})
    retry = {"attempts": 2, "backoff": {"initial": 0.05, "jitter": 0}}
    rig = Rig(flaky.handler(), {"retry": retry})
    rig.send("1")
    poll, waits = rig.consumer.poll, list[float]()

    def noted(limit: int, timeout: float) -> Any:
        if flaky.calls:
            waits.append(timeout)
        return poll(limit, timeout)

    monkeypatch.setattr(rig.consumer, "poll", noted)
    while not waits:
        rig.runner.step()
    for seconds in (0.02, 0.0299, 0.1):
        rig.clock.advance(seconds)
        rig.runner.step()
    at_once(rig)

    assert waits[:3] == pytest.approx([0.05, 0.03, 0.005])
    assert waits[-1] == 0.1
    assert rig.values() == ["1"]


# --- what the handler asks for ---


@pytest.mark.parametrize("seconds", [0, 0.5, 7200])
def test_a_handler_may_say_itself_when_to_try_again(seconds: float) -> None:
    flaky = Flaky({1: 1}, lambda: Retry(delay=seconds))
    retry = {**RETRY["retry"], "on": ["ValueError"], "give_up_on": ["Retry"]}
    rig = Rig(flaky.handler(), {"retry": retry})
    rig.send("1")
    for _ in range(3):
        rig.runner.step()

    if seconds:
        later(rig, seconds - 0.1)
        assert flaky.calls == [1]
    later(rig, 0.1)

    assert flaky.calls == [1, 1]
    assert rig.values() == ["1"]


def test_one_that_says_nothing_of_the_time_leaves_it_to_the_backoff() -> None:
    flaky = Flaky({1: 1}, Retry)
    rig = Rig(flaky.handler(), RETRY)
    rig.send("1")
    at_once(rig)

    later(rig, 9.9)
    assert flaky.calls == [1]
    later(rig, 0.1)
    assert flaky.calls == [1, 1]


@pytest.mark.parametrize("attempts", [1, 2])
def test_one_that_has_no_attempts_left_has_failed(attempts: int) -> None:
    flaky = Flaky({1: 9}, lambda: Retry(delay=1.0))
    rig = Rig(flaky.handler(), {"dead_letter": "dlq", "retry": {"attempts": attempts}})
    rig.send("1")
    at_once(rig)

    later(rig, 1.0)

    (headers,) = letters(rig)
    assert (headers["dlq.reason"], headers["dlq.error"]) == (b"handler_error", b"Retry")
    assert headers["dlq.attempts"] == str(attempts).encode()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("batch", [None, 2])
def test_a_failure_tells_how_long_its_attempt_has_taken_and_none_before_it(
    batch: int | None, *, is_async: bool
) -> None:
    clock = ManualClock()

    def one(payload: int) -> None:
        clock.advance(2.0 if payload else 0.01)
        if payload:
            raise ValueError

    def both(payloads: list[int]) -> list[Any]:
        clock.advance(2.01)
        return [ValueError() if payload else None for payload in payloads]

    async def one_async(payload: int) -> None:
        one(payload)

    async def both_async(payloads: list[int]) -> list[Any]:
        return both(payloads)

    alone, together = (one_async, both_async) if is_async else (one, both)
    executor = Rig(alone if batch is None else together, batch=batch).executor
    executor.monotonic = clock.monotonic
    messages: list[RawMessage] = [
        StoredMessage("source", offset=at, value=b"%d" % at) for at in range(2)
    ]
    run = Run(Partition(SOURCE, 0, None, OneLane()), messages)

    outcomes = asyncio.run(executor.execute_async(run)) if is_async else executor.execute(run)

    _, failed = outcomes
    assert isinstance(failed, Failed)
    assert failed.failure.took == pytest.approx(2.0 if batch is None else 2.01)


def test_the_dead_letter_tells_how_long_the_last_attempt_has_taken() -> None:
    def handler(payload: int) -> None:
        rig.clock.advance(waits.pop())
        raise ValueError

    waits = [3.5, 1.0]
    rig = Rig(handler, {"retry": {"attempts": 2, "backoff": BACKOFF}, "dead_letter": "dlq"})
    rig.executor.monotonic = rig.clock.monotonic
    rig.send("1")
    at_once(rig)

    later(rig, 10.0)

    (headers,) = letters(rig)
    assert headers["dlq.took"] == b"3500"


@pytest.mark.parametrize("seconds", [-1, 86_401, float("nan"), float("inf")])
def test_a_delay_that_is_none_is_refused_where_it_is_made(seconds: float) -> None:
    with pytest.raises(ValueError, match="is not seconds from 0 to 86400"):
        Retry(delay=seconds)


# --- when it is given up ---


def test_a_pipeline_stops_in_front_of_a_message_whose_attempts_are_used_up() -> None:
    rig = Rig(Flaky({2: 9}).handler(), {**RETRY, "ordering": "none"})
    rig.send("1", "2", "3")
    at_once(rig)
    before = rig.runner.failed

    later(rig, 10.0)
    later(rig, 20.0)

    assert before is None
    assert "source[0]@1) could not be handled: handler_error OSError" in (rig.runner.failed or "")
    assert sorted(rig.values()) == ["1", "3"]


def test_a_message_is_skipped_when_its_attempts_are_used_up() -> None:
    rig = Rig(Flaky({1: 9}).handler(), {**RETRY, "on_error": "skip"})
    rig.send("1", "2")
    at_once(rig)
    later(rig, 10.0)
    assert rig.counts.skipped == {}
    later(rig, 20.0)

    assert rig.counts.skipped == {"handler_error": 1}
    assert rig.values() == ["2"]


def test_attempts_that_fail_are_summed_up_for_the_log() -> None:
    flaky = Flaky(dict.fromkeys(range(5), 9))
    rig = Rig(flaky.handler(), {**DEAD_LETTERS, "ordering": "none"})
    rig.send(*map(str, range(5)))

    at_once(rig, 12)

    assert rig.runner.settlement.failures == {"tried again: handler_error OSError": 5}


# --- partitions that go ---


@in_each_ordering
def test_a_drain_does_not_wait_for_a_message_that_waits_for_its_time(ordering: str) -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), {**RETRY, "ordering": ordering})
    rig.send("1", "2")
    at_once(rig)
    before = rig.clock.monotonic()

    assert rig.runner.drain()
    rig.runner.close()

    assert rig.clock.monotonic() == before
    assert rig.committed() == 0
    assert not rig.runner.pressure.messages


def test_a_message_that_fails_during_a_drain_is_left_for_the_next_owner() -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), RETRY)
    rig.send("1", "2")
    rig.pool.hold = True
    at_once(rig)
    rig.pool.hold = False

    assert rig.runner.drain()
    rig.runner.close()

    assert (rig.values(), rig.committed()) == ([], 0)


def test_the_next_owner_of_a_partition_begins_anew_with_the_attempts() -> None:
    flaky = Flaky({1: 4})
    rig = Rig(flaky.handler(), DEAD_LETTERS)
    rig.send("1")
    at_once(rig)
    later(rig, 10.0)
    assert flaky.calls == [1, 1]

    rig.restart()
    at_once(rig)
    later(rig, 10.0)
    later(rig, 20.0)

    assert flaky.calls == [1] * 5
    assert (rig.values(), rig.values("dlq")) == (["1"], [])


def test_a_partition_that_is_revoked_is_not_kept_by_a_message_that_waits() -> None:
    flaky = Flaky({1: 1, 3: 1})
    rig = Rig(flaky.handler(), RETRY, partitions=2)
    rig.send("1", "2", partition=0)
    rig.send("3", "4", partition=1)
    at_once(rig)
    before = rig.clock.monotonic()
    other = Rig(flaky.handler(), RETRY, broker=rig.broker, partitions=2)

    for _ in range(6):
        rig.runner.step()
        other.runner.step()

    assert rig.clock.monotonic() == before
    assert len(rig.runner.partitions) == len(other.runner.partitions) == 1
    rig.clock.advance(10.0)
    for _ in range(6):
        rig.runner.step()
        other.runner.step()
    assert sorted(rig.values()) == ["1", "2", "3", "4"]
    assert sum(one.runner.pressure.messages for one in (rig, other)) == 0


def test_attempts_are_kept_when_a_failed_delivery_makes_the_pipeline_read_again() -> None:
    flaky = Flaky({2: 9})
    rig = Rig(flaky.handler(), {**DEAD_LETTERS, "ordering": "key"})
    rig.producer.fail_next(when=lambda record: record.value == b"1")
    rig.send("2", "1")
    at_once(rig, 12)
    assert rig.counts.rewinds == 1

    later(rig, 60.0)
    later(rig, 60.0)

    assert flaky.calls.count(2) == 3
    (headers,) = letters(rig)
    assert headers["dlq.attempts"] == b"3"
    assert rig.values() == ["1"]


def test_attempts_are_not_those_of_other_messages_when_the_log_has_become_shorter() -> None:
    flaky = Flaky({1: 2, 7: 2})
    rig = Rig(flaky.handler(), {**DEAD_LETTERS, "on_offset_lost": "oldest"})
    rig.send("1", "2", "3")
    at_once(rig)
    later(rig, 10.0)

    log = rig.broker.log(SOURCE)
    log.end = 0
    log._records.clear()
    rig.send("7")
    for _ in range(4):
        later(rig, 20.0)

    assert flaky.calls == [1, 1, 7, 7, 7]
    assert rig.values() == ["7"]


# --- async handlers ---


def test_a_run_of_an_async_handler_ends_at_a_message_that_is_tried_again() -> None:
    async def flaky(payload: int) -> int:
        if payload == 1:
            raise OSError
        return payload

    def outcomes(ordering: str) -> list[type]:
        rig = Rig(flaky, {**RETRY, "ordering": ordering})
        messages = [StoredMessage("source", offset=n, value=b"%d" % n) for n in range(3)]
        run = Run(Partition(SOURCE, 0, None, OneLane()), list(messages))
        return [type(one) for one in asyncio.run(rig.executor.execute_async(run))]

    in_order, without = outcomes("partition"), outcomes("none")

    assert (len(in_order), in_order[-1]) == (2, Failed)
    assert (len(without), without[1]) == (3, Failed)


def test_a_time_out_is_tried_again_by_the_name_of_pythons_own() -> None:
    async def hang(payload: int) -> None:
        await asyncio.Event().wait()

    def outcome(**retry: Any) -> Failed:
        settings = {"timeout": 0.01, "retry": {"attempts": 2, **retry}}
        run = Run(Partition(SOURCE, 0, None, OneLane()), [StoredMessage("source", value=b"1")])
        (found,) = asyncio.run(Rig(hang, settings).executor.execute_async(run))
        assert isinstance(found, Failed)
        assert found.failure.reason == "timeout"
        return found

    assert outcome(on=["TimeoutError"]).again
    assert not outcome(give_up_on=["TimeoutError"]).again
