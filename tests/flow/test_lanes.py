"""The order in which messages of a partition are handled."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flow.lanes import BY_KEY, LANES, KeyLanes, Lanes, NoLanes, OneLane, PacedLanes
from worker.flow.rate import LaneRates
from worker.types import RawMessage, StoredMessage

every_kind = pytest.mark.parametrize("make", LANES.values(), ids=list(LANES))


def messages(*offsets: int, key: bytes | None = b"key") -> list[RawMessage]:
    return [StoredMessage("topic", offset=offset, key=key) for offset in offsets]


def offsets(run: list[RawMessage]) -> list[int]:
    return [message.offset() for message in run]


@pytest.mark.parametrize("make", [OneLane, KeyLanes])
def test_no_second_run_of_a_lane_goes_out_while_one_is_out(make: Callable[[], Lanes]) -> None:
    lanes = make()
    lanes.add(messages(1, 2, 3))

    run = lanes.take(2)

    assert offsets(run) == [1, 2][: len(run)]
    assert lanes.take(2) == []
    assert (lanes.ready, len(lanes)) == (0, 3 - len(run))


@every_kind
def test_messages_that_a_run_did_not_handle_come_first_again(make: Callable[[], Lanes]) -> None:
    lanes = make()
    lanes.add([*messages(1, key=b"a"), *messages(2, 3, key=b"b")])
    run = lanes.take(2)

    lanes.release(run, 1)

    assert offsets(lanes.take(1)) == [2]


@every_kind
def test_messages_that_wait_are_forgotten_at_once_when_the_partition_goes(
    make: Callable[[], Lanes],
) -> None:
    lanes = make()
    lanes.add(messages(1, 2, 3))
    run = lanes.take(1)

    assert lanes.clear() == 2
    lanes.release(run, 1)
    assert (len(lanes), lanes.ready) == (0, 0)


@every_kind
def test_a_message_that_is_postponed_is_first_in_its_lane_when_its_time_has_come(
    make: Callable[[], Lanes],
) -> None:
    lanes = make()
    lanes.add(messages(1, 2))
    run = lanes.take(2)

    lanes.release(run[1:], 0)
    lanes.postpone(run[0], 5.0)
    before = lanes.wake(4.9)
    too_early = offsets(lanes.take(1))
    lanes.release(messages(*too_early), len(too_early))
    after = lanes.wake(5.0)

    assert (before, after) == (5.0, inf)
    assert 1 not in too_early
    assert offsets(lanes.take(1)) == [1]


@pytest.mark.parametrize("make", [OneLane, KeyLanes])
def test_what_is_behind_a_postponed_message_waits_with_it(make: Callable[[], Lanes]) -> None:
    lanes = make()
    lanes.add(messages(1, 2))
    run = lanes.take(1)

    lanes.release([], 0)
    lanes.postpone(run[0], 5.0)

    assert lanes.take(9) == []
    assert (lanes.ready, len(lanes)) == (0, 2)


@pytest.mark.parametrize("make", [KeyLanes, NoLanes])
def test_other_messages_go_on_while_one_waits_and_those_whose_time_has_come_are_first(
    make: Callable[[], Lanes],
) -> None:
    lanes = make()
    lanes.add([*messages(1, key=b"a"), *messages(2, key=b"b"), *messages(3, key=b"c")])
    run = [*lanes.take(1), *lanes.take(1)]
    lanes.postpone(run[0], 6.0)
    lanes.postpone(run[1], 5.0)
    lanes.add(messages(4, key=b"d"))

    assert offsets(lanes.take(1)) == [3]
    assert lanes.wake(4.9) == 5.0
    lanes.wake(6.0)
    assert offsets([*lanes.take(1), *lanes.take(1), *lanes.take(1)]) == [2, 1, 4]


@every_kind
def test_a_message_that_is_deferred_comes_after_other_lanes_and_first_in_its_own(
    make: Callable[[], Lanes],
) -> None:
    lanes = make()
    lanes.add([*messages(1, key=b"a"), *messages(2, key=b"b"), *messages(3, key=b"a")])
    run = lanes.take(1)

    lanes.defer(run[0])

    assert (lanes.ready, len(lanes)) == (2 if make is KeyLanes else 3, 3)
    left = []
    while run := lanes.take(1):
        lanes.release(run, 1)
        left += offsets(run)
    assert left == {OneLane: [1, 2, 3], KeyLanes: [2, 1, 3], NoLanes: [2, 3, 1]}[type(lanes)]


@every_kind
def test_postponed_messages_are_forgotten_with_those_that_wait(make: Callable[[], Lanes]) -> None:
    lanes = make()
    lanes.add(messages(1, 2))
    run = lanes.take(1)
    lanes.postpone(run[0], 5.0)

    assert lanes.clear() == 2
    lanes.wake(5.0)
    assert lanes.take(9) == []
    assert (len(lanes), lanes.ready) == (0, 0)


def test_a_postponed_message_counts_for_the_rate_of_its_lane_each_time() -> None:
    lanes = PacedLanes(BY_KEY, LaneRates(per_second=1.0))
    lanes.add(messages(1))
    run = lanes.take(1)

    lanes.postpone(run[0], 0.5)
    lanes.wake(0.5)
    too_fast = lanes.take(1)
    lanes.wake(0.9)

    assert too_fast == []
    assert offsets(lanes.take(1)) == [1]


def test_keys_go_out_beside_each_other() -> None:
    lanes = KeyLanes()
    lanes.add([*messages(1, 3, key=b"a"), *messages(2, 4, key=b"b")])

    assert offsets(lanes.take(9)) == [1, 2]
    assert lanes.take(9) == []


def test_messages_without_a_key_go_out_beside_each_other() -> None:
    lanes = KeyLanes()
    lanes.add(messages(1, 2, key=None))

    assert offsets(lanes.take(1)) == [1]
    assert offsets(lanes.take(1)) == [2]


def test_nothing_is_kept_of_keys_whose_messages_are_handled() -> None:
    lanes = KeyLanes()
    for number in range(1000):
        lanes.add(messages(number, key=b"%d" % number))
        lanes.release(lanes.take(1), 1)

    assert not lanes._lanes


def test_without_lanes_every_message_may_go_out() -> None:
    lanes = NoLanes()
    lanes.add(messages(1, 2, 3))

    assert [offsets(lanes.take(1)) for _ in range(3)] == [[1], [2], [3]]


def test_a_lane_goes_no_faster_than_its_rate_whatever_partition_its_messages_are_in() -> None:
    rates = LaneRates(per_second=2.0)
    one, other = PacedLanes(BY_KEY, rates), PacedLanes(BY_KEY, rates)
    one.add([*messages(1, 2, key=b"a"), *messages(3, key=b"b")])
    other.add(messages(4, key=b"a"))
    gone: list[tuple[float, int]] = []

    for tick in range(20):
        for lanes in (one, other):
            lanes.wake(tick / 10)
            while run := lanes.take(9):
                gone += [(tick / 10, offset) for offset in offsets(run)]
                lanes.release(run, len(run))

    assert gone == [(0.0, 1), (0.0, 3), (0.4, 2), (0.9, 4)]
    assert (len(one), len(other)) == (0, 0)


def test_a_message_that_was_not_handled_does_not_count_for_the_rate_of_its_lane() -> None:
    lanes = PacedLanes(BY_KEY, LaneRates(per_second=1.0))
    lanes.add([*messages(1), *messages(2, key=None), *messages(3, key=None)])

    lanes.release(lanes.take(9), 0)

    assert offsets(lanes.take(9)) == [1, 2, 3]


def test_a_partition_that_is_closed_keeps_nothing_of_lanes_that_are_too_fast() -> None:
    lanes = PacedLanes(BY_KEY, LaneRates(per_second=1.0))
    lanes.add(messages(1, 2))
    lanes.release(lanes.take(1), 1)
    assert lanes.take(1) == []

    assert lanes.clear() == 1
    lanes.wake(10.0)
    assert lanes.take(1) == []


@pytest.mark.parametrize("ordering", list(LANES))
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.sampled_from([b"a", b"b", None]), max_size=6),
            st.integers(1, 4),
            st.tuples(st.integers(0, 9), st.integers(0, 4)),
            st.tuples(st.integers(0, 9), st.integers(0, 4), st.floats(0, 9)),
            st.floats(0, 3),
        ),
        max_size=60,
    )
)
def test_every_message_is_handled_once_and_each_lane_in_order(
    ordering: str, steps: list[Any]
) -> None:
    """A step adds messages of these keys, takes so many, or gives a run back with some handled.

    One of a run may be postponed for so many seconds; or so many pass.
    """
    lanes, added, out, now = LANES[ordering](), 0, list[list[RawMessage]](), 0.0
    dues: dict[int, float] = {}
    handled: list[RawMessage] = []

    def release(run: list[RawMessage], number: int) -> None:
        handled.extend(run[:number])
        lanes.release(run, min(number, len(run)))

    for step in steps:
        match step:
            case list():
                keys = enumerate(step, added)
                lanes.add([StoredMessage("topic", offset=n, key=key) for n, key in keys])
                added += len(step)
            case int():
                run = lanes.take(step)
                assert all(dues.get(offset, now) <= now for offset in offsets(run))
                out += [run] if run else []
            case float():
                now += step
                lanes.wake(now)
            case which, number if out:
                release(out.pop(which % len(out)), number)
            case which, number, seconds if out:
                run = out.pop(which % len(out))
                late = run.pop(number % len(run))
                # In order nothing behind it was handled; otherwise all of the others may be.
                release(run, number % (len(run) + 1) if ordering == "partition" else len(run))
                lanes.postpone(late, now + seconds)
                dues[late.offset()] = now + seconds
    lanes.wake(now + 9)
    for run in out:
        release(run, len(run))
    while run := lanes.take(3):
        release(run, len(run))

    assert sorted(offsets(handled)) == list(range(added))
    assert (len(lanes), lanes.ready) == (0, 0)
    assert ordering == "none" or is_in_order(handled, by_key=ordering == "key")


def is_in_order(handled: list[RawMessage], *, by_key: bool) -> bool:
    """Whether the messages of each lane came in the order of their offsets; without key in any."""
    lanes: dict[bytes | None, list[int]] = {}
    for message in handled:
        lanes.setdefault(message.key() if by_key else b"", []).append(message.offset())
    lanes.pop(None, None)
    return all(lane == sorted(lane) for lane in lanes.values())
