"""How fast messages may go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flow.rate import CREDIT, SWEEP_AT, InLumps, LaneRates, Rate


@pytest.mark.parametrize("per_second", [0.5, 5.0, 500.0])
def test_over_a_long_time_a_rate_is_kept_however_seldom_it_is_asked(per_second: float) -> None:
    rate, gone, step = Rate(per_second), 0, 0.09

    for tick in range(10_000):
        room = rate.room(tick * step)
        rate.take(room, tick * step)
        gone += room

    assert gone == pytest.approx(per_second * 10_000 * step, rel=0.01)


def test_a_rate_in_lumps_that_is_used_up_has_no_room_before_there_is_some_for_a_lump() -> None:
    rate = InLumps(100.0, credit=1.0, lump=25)
    rate.take(rate.room(0.0) - 1, 0.0)
    last = rate.room(0.0)
    rate.take(last, 0.0)

    rooms = [rate.room(now) for now in (0.0, 0.1, 0.23, 0.26)]
    rate.take(20, 0.26)

    assert last == 1
    assert rooms == [0, 0, 0, 26]
    assert rate.room(0.26) == 6


def test_a_rate_in_lumps_is_kept_over_a_long_time() -> None:
    rate, gone = InLumps(100.0, credit=1.0, lump=25), 0

    for tick in range(10_000):
        room = min(4, rate.room(tick * 0.01))
        rate.take(room, tick * 0.01)
        gone += room

    assert gone == pytest.approx(10_000, rel=0.02)


@given(
    per_second=st.floats(0.1, 1_000),
    moments=st.lists(st.floats(0, 20), min_size=1, max_size=50),
)
def test_in_no_second_go_more_than_a_tenth_too_many(
    per_second: float, moments: list[float]
) -> None:
    rate, gone = Rate(per_second), list[tuple[float, int]]()

    for now in sorted(moments):
        gone.append((now, rate.room(now)))
        rate.take(gone[-1][1], now)

    for begin, _ in gone:
        second = sum(number for now, number in gone if begin <= now < begin + 1)
        assert second <= per_second * (1 + CREDIT) + 1.001


def test_what_has_not_gone_after_all_does_not_count() -> None:
    rate = Rate(100.0)
    room = rate.room(5.0)
    rate.take(room, 5.0)

    rate.give_back(3)

    assert rate.room(5.0) == 3


def test_a_lane_waits_for_its_own_messages_only() -> None:
    rates = LaneRates(per_second=1.0)
    rates.take(b"a", 0.0)

    assert rates.due(b"a", 0.25) == 1.0 - CREDIT
    assert rates.due(b"b", 0.25) == 0.25


def test_lanes_that_may_go_are_forgotten() -> None:
    rates = LaneRates(per_second=10.0)

    for number in range(10 * SWEEP_AT):
        rates.take(number, number / 100)

    assert len(rates._ahead) <= SWEEP_AT
    assert rates.due(10 * SWEEP_AT - 1, 99.99) == pytest.approx(99.99)
