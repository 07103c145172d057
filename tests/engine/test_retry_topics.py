"""Messages that wait in retry topics, on the memory broker and with time moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.engine.flaky import Flaky, at_once, later, letters, send
from tests.engine.rig import GROUP, Rig
from tests.engine.test_trial import until_it_is_over
from worker.engine.partition import Partition
from worker.engine.pipeline import PipelineLoop
from worker.errors import BatchError, Reject, Retry
from worker.flow.health import PartitionState
from worker.settings.topics import fence_topic, retry_topic
from worker.types import Headers, Message, TopicPartition

MINUTE, TEN_MINUTES = 60.0, 600.0
RETRY: dict[str, Any] = {
    "attempts": 2,
    "backoff": {"initial": "1s", "max": "10s", "jitter": 0},
    "topics": ["1m", "10m"],
}
KEPT: dict[str, Any] = {"ordering": "key", "retry": RETRY, "dead_letter": "dlq"}
ONCE: dict[str, Any] = {**KEPT, "retry": {**RETRY, "attempts": 1}}
"""One attempt in place."""
LOOSE: dict[str, Any] = {**ONCE, "ordering": "none"}
IN_ORDER: dict[str, Any] = {
    **ONCE,
    "ordering": "partition",
    "retry": {**ONCE["retry"], "keep_order": False},
}
BY_KEY: dict[str, Any] = {**IN_ORDER, "ordering": "key"}
FIRST, SECOND = retry_topic(GROUP, 0), retry_topic(GROUP, 1)
FENCES = fence_topic(GROUP)

in_each_way = pytest.mark.parametrize(
    "settings", [ONCE, LOOSE, IN_ORDER], ids=["key", "none", "partition"]
)


def settle(rig: Rig, seconds: int = 4) -> None:
    """Let what was done be committed, and fences be lifted that nothing holds."""
    for _ in range(2 * seconds):
        later(rig, 0.5)


def partition_of(rig: Rig, topic: str = "source", number: int = 0) -> Partition:
    return rig.runner.partitions[TopicPartition(topic, number)]


def fenced(rig: Rig, topic: str = "source", number: int = 0) -> int:
    return len(partition_of(rig, topic, number).fences or ())


def fences_in_log(rig: Rig) -> set[bytes | None]:
    """The keys of the fences that stand in the log."""
    last = {record.key: record.value for record in rig.broker.records(FENCES)}
    return {key for key, value in last.items() if value is not None}


def headers_in(rig: Rig, topic: str) -> list[dict[str, bytes | None]]:
    return [dict(record.headers) for record in rig.broker.records(topic)]


def state_of(rig: Rig, topic: str = "source") -> PartitionState:
    """What the pipeline tells of partition 0 of a topic."""
    loop = PipelineLoop(rig._job, rig._clients, rig.pool, rig.clock, rig.observer)
    loop._publish("running", rig.runner)
    (state,) = (one for one in loop.state.partitions if (one.topic, one.partition) == (topic, 0))
    return state


def is_over(rig: Rig) -> bool:
    """Whether nothing waits, is fenced or is uncommitted."""
    partitions = rig.runner.partitions
    committed = rig.broker.committed(GROUP)
    return (
        not rig.runner.pressure.messages
        and not any(p.fences for p in partitions.values())
        and not (rig.runner._fence_log is not None and fences_in_log(rig))
        and all(committed[source] == rig.broker.log(source).end for source in partitions)
    )


# --- from place to place ---


def test_attempts_in_place_come_first_then_a_tier_after_the_other_then_the_dead_letter() -> None:
    flaky = Flaky({1: 9})
    rig = Rig(flaky.handler(), KEPT)
    send(rig, 1, key=b"a")
    at_once(rig)
    begun = str(int(rig.clock.time() * 1000)).encode()

    later(rig, 1.0)
    assert (len(flaky.calls), rig.values(FIRST)) == (2, ["1"])
    later(rig, MINUTE)
    assert (len(flaky.calls), rig.values(SECOND)) == (3, ["1"])
    assert rig.values("dlq") == []
    later(rig, TEN_MINUTES)

    assert len(flaky.calls) == 4
    (headers,) = letters(rig)
    assert headers["dlq.topic"] == b"source"
    assert (headers["dlq.partition"], headers["dlq.offset"]) == (b"0", b"0")
    assert headers["dlq.attempts"] == b"4"
    assert headers["dlq.first_failure"] == begun
    assert (headers["dlq.reason"], headers["dlq.error"]) == (b"handler_error", b"OSError")
    assert not any(name.startswith("retry.") for name in headers)
    settle(rig)
    assert is_over(rig)


def test_one_that_is_handled_in_a_tier_has_one_result_and_is_counted_once() -> None:
    flaky = Flaky({1: 2})
    rig = Rig(flaky.handler(), KEPT)
    send(rig, 1, key=b"a")
    at_once(rig)
    later(rig, 1.0)

    later(rig, MINUTE)
    settle(rig)

    assert rig.values() == ["1"]
    counts = rig.counts
    assert (counts.handled, counts.retried, counts.moved, counts.followed) == (1, 1, 1, 0)
    assert (counts.produced, counts.dead_lettered) == (1, {})
    assert is_over(rig)


@in_each_way
def test_a_message_in_a_tier_waits_its_time_and_not_a_moment_longer(
    settings: dict[str, Any],
) -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), settings)
    send(rig, 1, key=b"a")
    at_once(rig)

    later(rig, MINUTE - 0.01)
    assert flaky.calls == [1]
    later(rig, 0.01)

    assert flaky.calls == [1, 1]
    assert rig.values() == ["1"]


@in_each_way
def test_nothing_is_held_in_memory_of_what_waits_and_its_partition_is_paused(
    settings: dict[str, Any],
) -> None:
    flaky = Flaky(dict.fromkeys(range(50), 1))
    rig = Rig(flaky.handler(), settings)
    for value in range(50):
        send(rig, value, key=b"%d" % value)
    at_once(rig, 200)
    assert len(rig.values(FIRST)) == 50

    waiting = partition_of(rig, FIRST)
    assert (waiting.in_flight, len(waiting.lanes), waiting.size) == (0, 0, 0)
    assert rig.runner.pressure.messages == rig.runner.pressure.bytes == 0
    assert waiting.paused
    assert rig.consumer._positions[waiting.source].paused
    assert not partition_of(rig).paused
    later(rig, MINUTE, 200)
    assert sorted(map(int, rig.values())) == list(range(50))
    assert not partition_of(rig, FIRST).paused


def test_messages_behind_it_in_the_same_tier_wait_no_longer_than_their_own_time() -> None:
    flaky = Flaky({1: 1, 2: 1})
    rig = Rig(flaky.handler(), LOOSE)
    rig.send("1")
    at_once(rig)
    later(rig, 20.0)
    rig.send("2")
    at_once(rig)

    later(rig, 40.0)
    assert rig.values() == ["1"]
    later(rig, 19.9)
    assert rig.values() == ["1"]
    later(rig, 0.1)

    assert rig.values() == ["1", "2"]


@in_each_way
def test_what_lies_behind_in_the_source_and_other_partitions_go_on_meanwhile(
    settings: dict[str, Any],
) -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), settings, partitions=2)
    rig.send("1", "2", "3")
    rig.send("4", "5", partition=1)

    rig.step(12)

    assert sorted(rig.values()) == ["2", "3", "4", "5"]
    assert (rig.committed(0), rig.committed(1)) == (3, 2)


def test_a_head_that_is_not_due_keeps_no_other_tier_nor_another_partition_of_its_own_waiting() -> (
    None
):
    flaky = Flaky({1: 2, 2: 1, 3: 1})
    rig = Rig(flaky.handler(), LOOSE, partitions=2)
    rig.send("1")
    at_once(rig)
    later(rig, MINUTE)
    assert rig.values(SECOND) == ["1"]
    rig.send("2")
    at_once(rig)
    later(rig, 30.0)
    rig.send("3", partition=1)
    at_once(rig)

    later(rig, 30.0)
    assert rig.values() == ["2"]
    later(rig, 30.0)
    assert rig.values() == ["2", "3"]


@in_each_way
def test_a_record_in_a_tier_has_the_message_as_it_was_and_its_history(
    settings: dict[str, Any],
) -> None:
    rig = Rig(Flaky({1: 9}).handler(), settings)
    rig.broker.append("source", b"0")
    rig.broker.append("source", b"1", b"key", headers=[("x", b"y"), ("x", None)], timestamp=77)
    at_once(rig)
    begun = int(rig.clock.time() * 1000)

    (record,) = rig.broker.records(FIRST)

    assert (record.value, record.key, record.partition) == (b"1", b"key", 0)
    assert record.headers[:2] == [("x", b"y"), ("x", None)]
    headers = dict(record.headers)
    assert headers.pop("retry.lane", None) is not None or settings is not ONCE
    assert (headers.pop("retry.took") or b"").isdigit()
    assert {name: headers[name] for name in headers if name != "x"} == {
        "retry.due": b"%d" % (begun + 60_000),
        "retry.topic": b"source",
        "retry.partition": b"0",
        "retry.offset": b"1",
        "retry.timestamp": b"77",
        "retry.attempts": b"1",
        "retry.first_failure": b"%d" % begun,
        "retry.reason": b"handler_error",
        "retry.error": b"OSError",
    }


def test_a_handler_sees_the_retry_topic_and_in_headers_the_place_where_it_was_first() -> None:
    seen: list[tuple[str, bytes | None]] = []

    def handle(message: Message) -> None:
        seen.append((message.topic, dict(message.headers).get("retry.topic")))
        raise OSError

    rig = Rig(handle, LOOSE)
    rig.send("1")
    at_once(rig)
    later(rig, MINUTE)

    assert seen == [("source", None), (FIRST, b"source")]


# --- what a handler asks for ---


def asking(delays: dict[int, float], log: list[int]) -> Callable[[int], int]:
    """A handler that asks once for each of these to be tried after so long."""
    left = dict(delays)

    def handle(payload: int) -> int:
        log.append(payload)
        if payload in left:
            raise Retry(delay=left.pop(payload))
        return payload

    return handle


def test_a_wait_longer_than_those_in_place_goes_to_the_first_tier_that_is_long_enough() -> None:
    calls: list[int] = []
    rig = Rig(asking({1: 11.0, 2: 60.0, 3: 61.0, 4: 600.0}, calls), {**KEPT, "ordering": "none"})
    rig.send("1", "2", "3", "4")

    at_once(rig, 12)

    assert rig.values(FIRST) == ["1", "2"]
    assert rig.values(SECOND) == ["3", "4"]
    assert calls == [1, 2, 3, 4]


@pytest.mark.parametrize("seconds", [3.0, 10.0, 601.0])
def test_one_that_is_no_longer_or_longer_than_any_tier_is_waited_for_in_place(
    seconds: float,
) -> None:
    calls: list[int] = []
    rig = Rig(asking({1: seconds}, calls), KEPT)
    rig.send("1")
    at_once(rig)

    later(rig, seconds - 0.1)
    assert calls == [1]
    later(rig, 0.1)

    assert rig.values() == ["1"]
    assert rig.values(FIRST) == rig.values(SECOND) == []


def test_a_wait_asked_for_in_a_tier_never_leads_back_to_an_earlier_one() -> None:
    waits = iter([30.0, 30.0, 30.0])

    def handle(_payload: int) -> int:
        raise Retry(delay=next(waits))

    rig = Rig(handle, KEPT)
    rig.send("1")
    at_once(rig)
    assert (len(rig.values(FIRST)), len(rig.values(SECOND))) == (1, 0)
    later(rig, MINUTE)
    assert (len(rig.values(FIRST)), len(rig.values(SECOND))) == (1, 1)
    later(rig, TEN_MINUTES)

    assert rig.values("dlq") == ["1"]
    assert letters(rig)[0]["dlq.attempts"] == b"3"


# --- what is given up ---


@pytest.mark.parametrize(
    ("value", "error"),
    [("{", OSError), ("1", lambda: Reject("no")), ("1", KeyError)],
    ids=["undecodable", "rejected", "give_up_on"],
)
def test_what_would_fail_again_goes_to_no_tier(value: str, error: Callable[[], Exception]) -> None:
    settings = {**KEPT, "retry": {**RETRY, "give_up_on": ["LookupError"]}}
    rig = Rig(Flaky({1: 9}, error).handler(), settings)
    rig.send(value)

    at_once(rig)
    settle(rig)

    assert rig.values("dlq") == [value]
    assert rig.values(FIRST) == rig.values(SECOND) == []
    assert (rig.counts.moved, fenced(rig)) == (0, 0)


def test_what_is_rejected_in_a_tier_is_given_up_there_and_tells_of_all_attempts() -> None:
    errors = iter([OSError(), Reject("no")])
    rig = Rig(Flaky({1: 9}, lambda: next(errors)).handler(), ONCE)
    rig.send("1")
    at_once(rig)

    later(rig, MINUTE)

    (headers,) = letters(rig)
    assert (headers["dlq.reason"], headers["dlq.attempts"]) == (b"rejected", b"2")
    assert rig.values(SECOND) == []


@in_each_way
def test_the_pipeline_stops_in_front_of_a_message_that_failed_in_the_last_tier(
    settings: dict[str, Any],
) -> None:
    settings = {name: value for name, value in settings.items() if name != "dead_letter"}
    rig = Rig(Flaky({1: 9}).handler(), settings)
    rig.send("1", "2")
    at_once(rig)
    later(rig, MINUTE)
    before = rig.runner.failed

    later(rig, TEN_MINUTES)

    assert before is None
    assert f"{SECOND}[0]@0) could not be handled: handler_error OSError" in (
        rig.runner.failed or ""
    )
    assert rig.runner.drain()
    assert rig.broker.committed(GROUP)[TopicPartition(SECOND, 0)] == 0


def test_a_message_is_skipped_behind_the_last_tier() -> None:
    settings = {**ONCE, "on_error": "skip"}
    del settings["dead_letter"]
    rig = Rig(Flaky({1: 9}).handler(), settings)
    rig.send("1", "2")
    at_once(rig)
    later(rig, MINUTE)
    assert rig.counts.skipped == {}

    later(rig, TEN_MINUTES)
    settle(rig)

    assert rig.counts.skipped == {"handler_error": 1}
    assert is_over(rig)


# --- without order ---


def test_with_ordering_partition_and_no_order_to_keep_the_rest_of_a_run_goes_on_in_order() -> None:
    flaky = Flaky({2: 1, 4: 1})
    rig = Rig(flaky.handler(), IN_ORDER)
    rig.send("1", "2", "3", "4", "5")

    at_once(rig, 12)
    assert rig.values() == ["1", "3", "5"]
    assert flaky.calls == [1, 2, 3, 4, 5]
    later(rig, MINUTE)
    settle(rig)

    assert rig.values() == ["1", "3", "5", "2", "4"]
    assert is_over(rig)


@pytest.mark.parametrize("settings", [LOOSE, IN_ORDER, BY_KEY], ids=["none", "partition", "key"])
def test_where_no_order_is_kept_nothing_is_fenced(settings: dict[str, Any]) -> None:
    rig = Rig(Flaky({1: 1}).handler(), settings)
    send(rig, 1, 2, 3, key=b"a")

    at_once(rig, 12)

    assert rig.values() == ["2", "3"]
    assert FENCES not in rig.broker.topics
    assert "retry.lane" not in headers_in(rig, FIRST)[0]


# --- batches and async handlers ---


def batch_ways() -> dict[str, Callable[[list[int]], Any]]:
    """Batch handlers of which 1 fails twice."""

    def raising() -> Callable[[list[int]], Any]:
        left = [2]

        def handle(payloads: list[int]) -> None:
            if 1 in payloads and left[0]:
                left[0] -= 1
                raise BatchError({payloads.index(1): OSError()})

        return handle

    def returning() -> Callable[[list[int]], Any]:
        left = [2]

        def handle(payloads: list[int]) -> list[Any]:
            fails = 1 in payloads and left[0] > 0
            left[0] -= fails
            return [OSError() if one == 1 and fails else one for one in payloads]

        return handle

    return {"BatchError": raising(), "returned": returning()}


@pytest.mark.parametrize("way", ["BatchError", "returned"])
@pytest.mark.parametrize("settings", [LOOSE, IN_ORDER], ids=["none", "partition"])
def test_of_a_batch_only_what_failed_moves(way: str, settings: dict[str, Any]) -> None:
    rig = Rig(batch_ways()[way], settings, batch=10)
    rig.send("0", "1", "2")

    at_once(rig, 12)
    assert (rig.values(FIRST), rig.committed(), rig.counts.handled) == (["1"], 0, 2)
    settle(rig)
    assert rig.committed() == 3
    later(rig, MINUTE)
    assert rig.values(SECOND) == ["1"]
    later(rig, TEN_MINUTES)
    settle(rig)

    assert (rig.counts.handled, rig.counts.moved) == (3, 2)
    assert is_over(rig)


@in_each_way
def test_what_an_async_handler_fails_at_goes_the_same_way(settings: dict[str, Any]) -> None:
    flaky = Flaky({1: 2})
    handle = flaky.handler()

    async def alone(payload: int) -> int:
        return handle(payload)

    rig = Rig(alone, settings)
    rig.pool._execute = lambda run: asyncio.run(rig.executor.execute_async(run))
    rig.send("1", "2")
    at_once(rig, 12)
    assert (rig.values(), rig.values(FIRST)) == (["2"], ["1"])
    later(rig, MINUTE)
    assert rig.values(SECOND) == ["1"]
    later(rig, TEN_MINUTES)
    settle(rig)

    assert rig.values() == ["2", "1"]
    assert is_over(rig)


# --- lanes that follow ---


def test_later_messages_of_a_lane_follow_it_and_are_handled_behind_it() -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), ONCE)
    send(rig, 1, 2, 3, key=b"a")
    send(rig, 4, 5, key=b"b")
    at_once(rig, 12)
    assert (rig.values(), rig.values(FIRST)) == (["4", "5"], ["1", "2", "3"])
    assert flaky.calls.count(2) == 0

    later(rig, MINUTE, 12)

    assert rig.values() == ["4", "5", "1", "2", "3"]
    counts = rig.counts
    assert (counts.moved, counts.followed, counts.handled) == (3, 2, 5)
    settle(rig)
    assert is_over(rig)


def test_followers_have_no_failure_to_tell_of_and_are_due_at_once() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, 2, key=b"a")
    at_once(rig, 12)
    now = int(rig.clock.time() * 1000)

    head, follower = headers_in(rig, FIRST)

    assert (follower["retry.due"], follower["retry.attempts"]) == (b"%d" % now, b"0")
    assert not {"retry.first_failure", "retry.reason", "retry.error"} & follower.keys()
    assert follower["retry.lane"] == head["retry.lane"]


def test_a_follower_has_all_of_its_attempts_in_place_in_the_tier() -> None:
    flaky = Flaky({1: 2, 2: 9})
    rig = Rig(flaky.handler(), KEPT)
    send(rig, 1, 2, key=b"a")
    at_once(rig)
    later(rig, 1.0, 12)
    later(rig, MINUTE, 12)
    assert flaky.calls == [1, 1, 1, 2]
    later(rig, 1.0, 12)
    assert flaky.calls == [1, 1, 1, 2, 2]
    assert rig.values(SECOND) == ["2"]
    later(rig, TEN_MINUTES, 12)

    assert letters(rig)[0]["dlq.attempts"] == b"3"


def test_a_follower_in_the_last_tier_has_no_tier_left_and_is_given_up_after_those_in_place() -> (
    None
):
    flaky = Flaky({1: 2, 2: 9})
    rig = Rig(flaky.handler(), KEPT)
    send(rig, 1, 2, key=b"a")
    at_once(rig)
    flaky._left[1] += 1
    later(rig, 1.0, 12)
    later(rig, MINUTE, 12)
    assert rig.values(SECOND) == ["1", "2"]
    later(rig, TEN_MINUTES, 12)
    later(rig, 1.0, 12)

    assert flaky.calls == [1, 1, 1, 1, 2, 2]
    assert letters(rig)[0]["dlq.attempts"] == b"2"
    settle(rig)
    assert is_over(rig)


def test_the_order_of_a_lane_is_kept_through_two_tiers_and_others_go_on() -> None:
    rig = Rig(Flaky({1: 2}).handler(), ONCE)
    send(rig, 1, 2, 3, key=b"a")
    at_once(rig, 12)
    later(rig, MINUTE, 12)
    assert (rig.values(), rig.values(SECOND)) == ([], ["1", "2", "3"])
    send(rig, 4, 5, 6, key=b"a")
    send(rig, 7, key=b"b")
    at_once(rig, 12)
    assert rig.values() == ["7"]

    for _ in range(90):
        later(rig, 30.0, 12)
    settle(rig)

    assert rig.values() == ["7", "1", "2", "3", "4", "5", "6"]
    assert is_over(rig)


def test_a_lane_is_free_again_when_all_that_was_moved_is_through() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, 2, key=b"a")
    at_once(rig, 12)
    settle(rig)
    assert fenced(rig) == 1
    later(rig, MINUTE)
    settle(rig)
    assert fenced(rig) == 0

    send(rig, 3, key=b"a")
    at_once(rig)

    assert rig.values() == ["1", "2", "3"]
    assert rig.values(FIRST) == ["1", "2"]


def test_messages_without_a_key_are_fenced_never() -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), ONCE)
    send(rig, 1, 2, 3, key=None)

    at_once(rig, 12)

    assert rig.values() == ["2", "3"]
    assert (fenced(rig), rig.broker.records(FENCES)) == (0, [])
    assert "retry.lane" not in headers_in(rig, FIRST)[0]
    later(rig, MINUTE)
    settle(rig)
    assert rig.values() == ["2", "3", "1"]
    assert is_over(rig)


def tenants(rig: Rig, *values: tuple[int, bytes]) -> None:
    for value, tenant in values:
        rig.broker.append(
            "source", b"%d" % value, b"%d" % value, headers=[("tenant", tenant)], partition=0
        )


@pytest.mark.parametrize("lane", ["headers.tenant", "lane"])
def test_lanes_by_header_or_function_follow_as_well(lane: str) -> None:
    def tenant(message: Message) -> bytes | None:
        return dict(message.headers).get("tenant") if message.topic == "source" else b"all"

    rig = Rig(Flaky({1: 1}).handler(), {**ONCE, "lane": lane}, lane=tenant)
    tenants(rig, (1, b"x"), (2, b"y"), (3, b"x"), (4, b"y"))
    at_once(rig, 12)
    assert (rig.values(), rig.values(FIRST)) == (["2", "4"], ["1", "3"])
    tenants(rig, (5, b"y"))
    at_once(rig)
    assert rig.values() == ["2", "4", "5"]

    later(rig, MINUTE)
    settle(rig)

    assert rig.values() == ["2", "4", "5", "1", "3"]
    assert is_over(rig)


def test_lanes_in_a_tier_are_those_of_the_source_whatever_a_function_says_there() -> None:
    rig = Rig(
        Flaky({1: 1, 2: 1}).handler(),
        {**ONCE, "lane": "lane"},
        lane=lambda message: message.value if message.topic == "source" else b"all",
    )
    rig.send("1", "2")
    at_once(rig, 12)
    rig.pool.stuck = {b"1"}

    later(rig, MINUTE)

    assert rig.values() == ["2"]


# --- fences that close ---


def closing(**settings: Any) -> Rig:
    """A lane whose first message is through its tier, while a handler there has its second one."""
    rig = Rig(Flaky({1: 1}).handler(), {**ONCE, **settings})
    send(rig, 1, key=b"a")
    at_once(rig)
    settle(rig, 1)
    send(rig, 2, key=b"a")
    at_once(rig)
    rig.pool.stuck = {b"2"}
    later(rig, MINUTE)
    settle(rig)
    assert (rig.values(), fenced(rig)) == (["1"], 1)
    return rig


def test_messages_wait_in_their_lane_for_a_fence_that_is_closing_and_are_never_moved() -> None:
    rig = closing()
    send(rig, 3, 4, key=b"a")
    send(rig, 5, key=b"b")
    settle(rig)
    assert (rig.values(), rig.values(FIRST)) == (["1", "5"], ["1", "2"])
    assert partition_of(rig).in_flight == 2
    rig.pool.stuck.clear()

    settle(rig)

    assert rig.values() == ["1", "5", "2", "3", "4"]
    assert rig.values(FIRST) == ["1", "2"]
    assert is_over(rig)


def test_they_move_on_where_there_is_no_room_for_what_waits() -> None:
    rig = closing(in_flight={"messages": 12})
    send(rig, *range(3, 9), key=b"a")

    settle(rig)

    assert rig.values(FIRST) == ["1", "2", "3", "4", "5"]
    assert partition_of(rig).in_flight == 3
    rig.pool.stuck.clear()
    settle(rig, 8)
    assert rig.values() == [*map(str, range(1, 9))]
    assert is_over(rig)


def test_a_drain_does_not_wait_for_a_fence_that_is_closing() -> None:
    rig = closing()
    send(rig, 3, key=b"a")
    at_once(rig)
    rig.pool.stuck.clear()
    before = rig.clock.monotonic()

    assert rig.runner.drain()
    rig.runner.close()

    assert rig.clock.monotonic() == before
    assert (rig.committed(), rig.values(), rig.values(FIRST)) == (2, ["1", "2"], ["1", "2"])


# --- what is durable before what ---


def test_the_fence_is_durable_before_the_record_in_the_tier_and_that_before_the_offset() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE, partitions=2)
    rig.pool.size = 2
    send(rig, 0, key=None, partition=1)
    send(rig, 1, key=b"a", partition=1)
    rig.producer.hold_deliveries([0])
    settle(rig)
    assert rig.values() == ["0"]
    assert (rig.broker.records(FENCES), rig.values(FIRST), rig.committed(1)) == ([], [], 1)

    rig.producer.release()
    rig.producer.hold_deliveries([1])
    settle(rig)
    assert (len(rig.broker.records(FENCES)), rig.values(FIRST), rig.committed(1)) == (1, [], 1)

    rig.producer.release()
    settle(rig)
    assert (len(rig.broker.records(FENCES)), rig.values(FIRST), rig.committed(1)) == (1, ["1"], 2)


# --- partitions that go ---


def test_a_drain_waits_for_no_message_in_a_tier() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, 2, key=b"a")
    at_once(rig, 12)
    before = rig.clock.monotonic()

    assert rig.runner.drain()
    rig.runner.close()

    assert rig.clock.monotonic() == before
    assert rig.committed() == 2
    assert rig.broker.committed(GROUP)[TopicPartition(FIRST, 0)] == 0
    assert not rig.runner.pressure.messages


def test_a_message_that_fails_while_the_worker_drains_moves_and_is_committed() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, key=b"a")
    rig.pool.hold = True
    at_once(rig)
    rig.pool.hold = False

    assert rig.runner.drain()
    rig.runner.close()

    assert (rig.values(FIRST), rig.committed(), len(fences_in_log(rig))) == (["1"], 1, 1)


def test_partitions_with_what_waits_go_to_another_member_and_come_back_on_time() -> None:
    flaky = Flaky(dict.fromkeys(range(4), 1))
    rig = Rig(flaky.handler(), ONCE, partitions=2)
    for value in range(4):
        send(rig, value, value + 10, key=b"%d" % value, partition=value % 2)
    at_once(rig, 24)
    assert len(rig.values(FIRST)) == 8
    before = rig.clock.monotonic()
    other = Rig(flaky.handler(), ONCE, broker=rig.broker, partitions=2)
    for _ in range(12):
        rig.runner.step()
        other.runner.step()
    assert rig.clock.monotonic() == before
    assert len(rig.runner.partitions) == len(other.runner.partitions) == 3
    assert rig.values() == []

    rig.clock.advance(MINUTE)
    for _ in range(40):
        rig.clock.advance(0.5)
        rig.runner.step()
        other.runner.step()

    assert sorted(map(int, rig.values())) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert all(rig.values().index(f"{n}") < rig.values().index(f"{n + 10}") for n in range(4))
    assert fences_in_log(rig) == set()
    assert sum(one.runner.pressure.messages for one in (rig, other)) == 0


def test_fences_are_there_again_after_a_restart_and_are_lifted_when_all_is_through() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, key=b"a")
    at_once(rig)
    settle(rig)

    rig.restart()
    send(rig, 2, key=b"a")
    at_once(rig, 12)
    assert (fenced(rig), rig.values(), rig.values(FIRST)) == (1, [], ["1", "2"])
    later(rig, MINUTE)
    settle(rig)

    assert rig.values() == ["1", "2"]
    assert is_over(rig)


def test_fences_of_a_tier_are_there_again_as_well() -> None:
    rig = Rig(Flaky({1: 2}).handler(), ONCE)
    send(rig, 1, key=b"a")
    at_once(rig)
    later(rig, MINUTE)
    settle(rig)
    assert (fenced(rig), fenced(rig, FIRST)) == (1, 1)

    rig.restart()
    settle(rig)
    assert (fenced(rig), fenced(rig, FIRST)) == (1, 1)
    send(rig, 2, key=b"a")
    settle(rig)

    assert (fenced(rig), fenced(rig, FIRST)) == (1, 1)
    assert rig.values(SECOND) == ["1", "2"]
    later(rig, TEN_MINUTES)
    settle(rig)
    assert rig.values() == ["1", "2"]
    assert is_over(rig)


def test_a_fence_that_was_lifted_is_not_there_again_after_a_restart() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, key=b"a")
    at_once(rig)
    later(rig, MINUTE)
    settle(rig)

    rig.restart()
    send(rig, 2, key=b"a")
    at_once(rig)

    assert fenced(rig) == 0
    assert rig.values() == ["1", "2"]


@pytest.mark.parametrize("topic", [FENCES, FIRST])
def test_a_record_that_could_not_be_delivered_is_written_again_before_its_lane_goes_on(
    topic: str,
) -> None:
    rig = Rig(Flaky({1: 9}).handler(), ONCE)
    rig.producer.fail_next(when=lambda record: record.topic == topic)
    send(rig, 1, 2, key=b"a")
    send(rig, 3, key=b"b")
    at_once(rig, 12)
    assert (rig.counts.rewinds, rig.values(FIRST), rig.committed()) == (1, [], 0)

    settle(rig, 10)

    assert rig.values(FIRST) == ["1", "2"]
    assert rig.values()[-1] == "3"
    assert (len(fences_in_log(rig)), fenced(rig), rig.committed()) == (1, 1, 3)


@pytest.mark.parametrize("topic", ["source", FIRST])
def test_a_lifted_fence_whose_record_could_not_be_delivered_is_lifted_again(topic: str) -> None:
    rig = Rig(Flaky({1: 2}).handler(), ONCE)
    send(rig, 1, key=b"a")
    at_once(rig)
    later(rig, MINUTE)
    settle(rig)
    rig.producer.fail_next(
        when=lambda record: record.value is None and (record.key or b"").startswith(topic.encode())
    )

    later(rig, TEN_MINUTES)
    settle(rig, 20)

    assert rig.counts.rewinds == 1
    assert is_over(rig)
    send(rig, 2, key=b"a")
    at_once(rig)
    assert rig.values() == ["1", "2"]


def test_a_member_that_joins_again_has_its_fences_while_a_handler_still_has_a_follower() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, 2, key=b"a")
    at_once(rig, 12)
    rig.pool.stuck = {b"1"}
    later(rig, MINUTE)

    rig.join_again()
    send(rig, 3, key=b"a")
    at_once(rig, 12)
    settle(rig)
    assert (rig.values(), rig.values(FIRST)) == ([], ["1", "2", "3"])
    rig.pool.stuck.clear()
    settle(rig)

    assert rig.values() == ["1", "2", "3"]
    assert is_over(rig)


def test_a_message_whose_record_could_not_be_delivered_still_waits_its_time_in_the_tier() -> None:
    flaky = Flaky({1: 1})
    rig = Rig(flaky.handler(), ONCE)
    rig.producer.fail_next(when=lambda record: record.topic == FIRST)
    send(rig, 1, key=b"a")
    at_once(rig, 12)
    send(rig, 2, key=b"a")
    later(rig, 0.5, 12)
    assert rig.values(FIRST) == ["1", "2"]

    later(rig, MINUTE - 0.1)
    assert flaky.calls == [1]
    later(rig, 0.1)

    assert rig.values() == ["1", "2"]
    assert headers_in(rig, FIRST)[0]["retry.attempts"] == b"1"


# --- what cannot go to a tier ---


def test_a_message_too_large_for_the_tier_has_no_attempt_there_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flaky = Flaky({1: 9})
    rig = Rig(flaky.handler(), KEPT)
    rig.limits[FIRST] = 100
    send(rig, 1, 2, key=b"a")
    at_once(rig)
    later(rig, 1.0)

    assert flaky.calls == [1, 1, 2]
    assert (rig.values("dlq"), rig.values(FIRST)) == (["1"], [])
    assert letters(rig)[0]["dlq.attempts"] == b"2"
    assert f"Message(source[0]@0) cannot wait in {FIRST}: " in caplog.text
    assert "bytes, and it takes 100 uncompressed" in caplog.text
    settle(rig)
    assert is_over(rig)


def test_a_follower_too_large_for_the_tier_waits_in_its_lane_until_that_is_free() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    send(rig, 1, key=b"a")
    at_once(rig)
    rig.limits[FIRST] = 100
    send(rig, 2, key=b"a")
    settle(rig)
    assert (rig.values(FIRST), rig.values()) == (["1"], [])

    later(rig, MINUTE)
    settle(rig)

    assert (rig.values(FIRST), rig.values()) == (["1"], ["1", "2"])
    assert is_over(rig)


def test_a_message_whose_partition_the_tier_lacks_has_no_attempt_there_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(Flaky({1: 9, 2: 9}).handler(), ONCE, partitions=2)
    rig._clients = replace(rig._clients, partitions={FIRST: 1, SECOND: 1})
    rig.restart()
    send(rig, 1, key=b"a", partition=1)
    send(rig, 2, key=b"b", partition=0)

    at_once(rig, 12)

    assert (rig.values("dlq"), rig.values(FIRST)) == (["1"], ["2"])
    assert f"cannot wait in {FIRST}: it has 1 partitions; add some, restart" in caplog.text


# --- records of others, and waits ---


def ours(due: float, **changes: bytes) -> Headers:
    """The headers of a retry record, due at a time in seconds."""
    texts = {
        "due": b"%d" % int(due * 1000),
        "topic": b"source",
        "partition": b"0",
        "offset": b"0",
        "timestamp": b"0",
        "attempts": b"1",
        **changes,
    }
    return [(f"retry.{name}", text) for name, text in texts.items()]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("retry.due", b"soon"), ("retry.topic", b""), ("retry.attempts", b"many")],
        [("retry.due", None), ("retry.lane", None), ("retry.offset", b"-1")],
        [("retry.lane", b""), ("retry.reason", b"\xff")],
        [("retry.lane", b"x" * 100_000)],
    ],
)
def test_a_record_of_somebody_else_is_handled_as_one_that_is_read_for_the_first_time(
    headers: Headers,
) -> None:
    flaky = Flaky({7: 9})
    rig = Rig(flaky.handler(), KEPT)
    rig.broker.append(FIRST, b"7", headers=headers, partition=0)

    at_once(rig)
    later(rig, 1.0)
    assert (flaky.calls, rig.values(SECOND)) == ([7, 7], ["7"])
    later(rig, TEN_MINUTES)
    settle(rig)

    (found,) = letters(rig)
    assert (found["dlq.topic"], found["dlq.attempts"]) == (FIRST.encode(), b"3")
    assert not fences_in_log(rig)
    assert is_over(rig)


def test_a_due_time_far_ahead_holds_for_no_longer_than_the_wait_of_the_tier() -> None:
    flaky = Flaky({})
    rig = Rig(flaky.handler(), ONCE)
    rig.broker.append(FIRST, b"7", headers=ours(rig.clock.time() + 1e6), partition=0)
    at_once(rig)

    later(rig, MINUTE - 0.1)
    assert flaky.calls == []
    later(rig, 0.1)

    assert flaky.calls == [7]


def test_a_wait_that_is_made_shorter_holds_for_what_waits_already() -> None:
    rig = Rig(Flaky({1: 1}).handler(), LOOSE)
    rig.send("1")
    at_once(rig)
    assert rig.runner.drain()
    rig.runner.close()

    settings = {**LOOSE, "retry": {**LOOSE["retry"], "topics": ["20s", "10m"]}}
    changed = Rig(Flaky({}).handler(), settings, broker=rig.broker)
    at_once(changed)
    later(changed, 19.9)
    assert changed.values() == []
    later(changed, 0.1)

    assert changed.values() == ["1"]


def test_a_tier_that_was_taken_away_keeps_no_lane_fenced_for_ever() -> None:
    rig = Rig(Flaky({1: 2}).handler(), ONCE)
    send(rig, 1, key=b"a")
    at_once(rig)
    later(rig, MINUTE)
    settle(rig)
    later(rig, TEN_MINUTES)
    assert rig.runner.drain()
    rig.runner.close()
    assert len(fences_in_log(rig)) == 2, "drained before the fences are lifted"

    settings = {**ONCE, "retry": {**ONCE["retry"], "topics": ["1m"]}}
    shorter = Rig(Flaky({}).handler(), settings, broker=rig.broker)
    at_once(shorter)
    settle(shorter)
    send(shorter, 2, key=b"a")
    at_once(shorter)

    assert fenced(shorter) == 0
    assert shorter.values() == ["1", "2"]


# --- beside what else there is ---


def test_a_partition_whose_messages_all_fail_does_not_drain_into_the_tiers() -> None:
    flaky = Flaky(dict.fromkeys(range(40), 1))
    rig = Rig(flaky.handler(), {**LOOSE, "flood_limit": {"max_consecutive": 5}})
    rig.send(*map(str, range(40)))

    at_once(rig, 100)

    assert len(rig.values(FIRST)) == 5
    assert partition_of(rig).is_flooded
    assert not partition_of(rig, FIRST).is_flooded
    for _ in range(60):
        later(rig, 30.0, 20)
    settle(rig)
    assert sorted(map(int, rig.values())) == list(range(40))
    assert is_over(rig)


def test_while_a_breaker_is_open_nothing_moves_and_nothing_is_tried_in_a_tier() -> None:
    down = [False]
    calls: list[int] = []

    def pay(payload: int) -> int:
        calls.append(payload)
        if down[0] or (payload == 0 and calls.count(0) <= 3):
            raise ConnectionError
        return payload

    breaker = {"name": "payments", "failures": 3, "reset": "30s", "on": ["ConnectionError"]}
    rig = Rig(pay, {**KEPT, "breaker": breaker})
    rig.send("0", "1")
    at_once(rig, 12)
    for value in "89":
        rig.send(value)
        later(rig, 2.0, 12)
    assert rig.values(FIRST) == ["0"]
    down[0] = True
    rig.send("2", "3", "4", "5")
    at_once(rig, 12)
    assert rig.breaker is not None
    assert rig.breaker.why_open is not None
    before = len(calls)

    later(rig, 29.0, 12)
    assert len(calls) == before
    for _ in range(20):
        later(rig, 30.0, 12)
    assert rig.values(FIRST) == ["0"]
    assert rig.values(SECOND) == rig.values("dlq") == []
    down[0] = False
    for _ in range(8):
        later(rig, 30.0, 40)
    settle(rig)

    assert sorted(rig.values()) == list("01234589")
    assert is_over(rig)


def test_followers_do_not_count_for_the_rate_limit() -> None:
    rig = Rig(Flaky({0: 1}).handler(), {**ONCE, "rate_limit": 10.0})
    send(rig, *range(40), key=b"a")

    at_once(rig, 60)

    assert len(rig.values(FIRST)) == 40
    assert rig.counts.followed == 39
    assert rig.runner._rate.room(rig.clock.monotonic()) == 1, "of 2 at once, 1 was given"


def test_while_it_is_found_out_what_ends_the_worker_fenced_lanes_follow() -> None:
    rig = Rig(Flaky({1: 1}).handler(), ONCE)
    rig.pool.stuck = {b"7"}
    send(rig, 1, key=b"a")
    at_once(rig)
    settle(rig)
    send(rig, 2, key=b"a")
    send(rig, 7, key=b"b")
    for _ in range(2):
        rig.producer.hold_deliveries()
        at_once(rig, 12)
        assert rig.values(FIRST) == ["1"]
        rig.restart()
    at_once(rig, 12)
    assert rig.values(FIRST) == ["1", "2"]
    until_it_is_over(rig)

    assert rig.values("dlq") == ["7"]
    later(rig, MINUTE)
    settle(rig)
    assert rig.values() == ["1", "2"]
    assert is_over(rig)


def test_runs_with_many_keys_are_sorted_by_their_fences() -> None:
    """As process pools have them."""
    flaky = Flaky({1: 1, 6: 2})
    rig = Rig(flaky.handler(), ONCE)
    rig._job = replace(rig._job, run_limit=100)
    rig.restart()
    for value in range(12):
        send(rig, value, key=b"%d" % (value % 4))

    at_once(rig, 12)
    assert sorted(map(int, rig.values(FIRST))) == [1, 5, 6, 9, 10]
    for _ in range(30):
        later(rig, 30.0)
    settle(rig)

    assert sorted(map(int, rig.values())) == list(range(12))
    for lane in range(4):
        own = [int(value) for value in rig.values() if int(value) % 4 == lane]
        assert own == sorted(own)
    assert is_over(rig)


# --- what is told ---


def test_the_state_tells_when_the_next_message_is_due_and_how_many_lanes_are_fenced() -> None:
    rig = Rig(Flaky({1: 1, 2: 1}).handler(), ONCE)
    send(rig, 1, 3, key=b"a")
    send(rig, 2, key=b"b")
    at_once(rig, 12)
    rig.clock.advance(20.0)

    source, tier = state_of(rig), state_of(rig, FIRST)
    assert (source.fenced, source.due_in, source.paused) == (2, None, False)
    assert (tier.fenced, tier.paused) == (0, True)
    assert tier.due_in == pytest.approx(40.0, abs=0.01)
    later(rig, 40.0)
    settle(rig)
    assert (state_of(rig).fenced, state_of(rig, FIRST).due_in) == (0, None)


def test_the_log_sums_up_what_has_moved_and_why_but_not_what_followed() -> None:
    flaky = Flaky({1: 2, 2: 1, 3: 1})
    rig = Rig(flaky.handler(), ONCE)
    send(rig, 1, 10, key=b"a")
    send(rig, 2, key=b"b")
    send(rig, 3, key=b"c")
    at_once(rig, 12)
    later(rig, MINUTE)

    assert rig.runner.settlement.failures == {
        f"moved to {FIRST}: handler_error OSError": 3,
        f"moved to {SECOND}: handler_error OSError": 1,
    }
    assert rig.runner.settlement.last_failure is not None
    assert FIRST in rig.runner.settlement.last_failure


def test_a_pipeline_goes_on_whose_fences_could_not_be_learnt_after_a_failed_delivery() -> None:
    rig = Rig(Flaky({}).handler(), KEPT)
    at_once(rig)
    rig.producer.fail_next()
    send(rig, 1, key=b"a")
    at_once(rig)
    rig.broker.stop()
    later(rig, MINUTE)
    blocked = rig.runner.blocked

    rig.broker.start()
    for _ in range(3):
        later(rig, MINUTE)

    assert blocked is not None
    assert (rig.values(), rig.committed(), rig.runner.blocked) == (["1"], 1, None)
