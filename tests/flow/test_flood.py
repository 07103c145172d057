"""When too many messages of a partition fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flow.flood import ENOUGH, TRIES, WAITS, Flood
from worker.settings import FloodLimitSettings

ROW = FloodLimitSettings(max_consecutive=3, max_ratio=1.0, window=1000)
RATIO = FloodLimitSettings(max_consecutive=1000, max_ratio=0.5, window=10)


def flooded() -> Flood:
    """One that is flooded since 0.0."""
    flood = Flood(ROW)
    for offset in range(4):
        flood.failed(offset, 0.0)
    return flood


def test_so_many_failures_in_a_row_are_given_up_and_the_next_one_comes_again() -> None:
    flood = Flood(ROW)

    again = [flood.failed(offset, 0.0) for offset in range(4)]

    assert again == [False, False, False, True]
    assert flood.is_flooded


def test_a_success_between_them_begins_the_row_anew() -> None:
    flood = Flood(ROW)

    for offset in range(30):
        flood.failed(offset, 0.0)
        flood.passed(1, 0.0)

    assert not flood.is_flooded


@pytest.mark.parametrize(("failures", "is_flooded"), [(5, False), (6, True)])
def test_more_than_a_part_of_the_last_messages_is_a_flood(
    failures: int, *, is_flooded: bool
) -> None:
    flood = Flood(RATIO)

    flood.passed(10 - failures, 0.0)
    for offset in range(failures):
        flood.failed(offset, 0.0)

    assert flood.is_flooded is is_flooded


def test_failures_before_the_last_messages_do_not_count() -> None:
    flood = Flood(RATIO)

    for offset in range(5):
        flood.failed(offset, 0.0)
    flood.passed(100, 0.0)
    for offset in range(5):
        flood.failed(offset, 0.0)

    assert not flood.is_flooded


def test_probes_wait_longer_with_each_that_fails_up_to_a_bound() -> None:
    flood, now, waits = flooded(), 0.0, list[float]()

    for offset in range(8):
        begun = now
        while not flood.may_probe(now):
            now += 0.5
        waits.append(now - begun)
        flood.failed(offset, now)

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_message_is_given_up_when_it_has_failed_as_so_many_probes() -> None:
    flood = flooded()

    again = [flood.failed(7, 100.0 * probe) for probe in range(1, TRIES + 1)]

    assert again == [*[True] * (TRIES - 1), False]
    assert flood.is_flooded


def test_it_ends_when_enough_probes_in_a_row_are_handled() -> None:
    flood = flooded()

    flood.passed(ENOUGH - 1, 10.0)
    flood.failed(8, 20.0)
    flood.passed(ENOUGH - 1, 30.0)
    before = flood.is_flooded
    flood.passed(1, 30.0)

    assert before
    assert not flood.is_flooded
    assert not flood.failed(9, 30.0)


def test_after_a_probe_that_was_handled_the_next_does_not_wait_and_waits_begin_anew() -> None:
    flood = flooded()
    flood.failed(8, 10.0)
    flood.failed(8, 15.0)

    flood.passed(1, 20.0)

    assert flood.may_probe(20.0)
    flood.failed(9, 20.0)
    assert flood.may_probe(20.0 + 2 * WAITS[0])


def test_what_was_at_work_when_it_began_is_no_probe() -> None:
    flood = flooded()

    assert all(flood.failed(offset, WAITS[0] - 0.1) for offset in [*range(50)] * TRIES)
    flood.passed(ENOUGH, WAITS[0] - 0.1)

    assert flood.is_flooded
    assert flood.may_probe(WAITS[0])


@given(st.integers(1, 20), st.floats(0.05, 1), st.integers(1, 50), st.lists(st.booleans()))
def test_whatever_fails_no_more_is_given_up_than_the_limit_says(
    in_a_row: int, ratio: float, window: int, outcomes: list[bool]
) -> None:
    limit = FloodLimitSettings(max_consecutive=in_a_row, max_ratio=ratio, window=window)
    flood, given_up = Flood(limit), list[bool]()
    for offset, passes in enumerate(outcomes):
        if flood.is_flooded:
            break
        if passes:
            flood.passed(1, 0.0)
        given_up.append(not passes and not flood.failed(offset, 0.0))

    assert "1" * (in_a_row + 1) not in "".join(str(int(one)) for one in given_up)
    assert sum(given_up[-window:]) <= ratio * window
