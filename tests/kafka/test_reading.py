"""How many messages the client takes at a time."""

from __future__ import annotations

from itertools import accumulate, repeat

import pytest

from worker.kafka.reading import HANDLE_FOR, POLL_LIMIT, next_limit

QUICK, SLOW = HANDLE_FOR / 2, HANDLE_FOR * 2


@pytest.mark.parametrize(("limit", "expected"), [(1, 2), (2, 4), (100, 200), (200, 400)])
def test_a_quick_handler_gets_twice_as_many(limit: int, expected: int) -> None:
    assert next_limit(limit, QUICK) == expected


@pytest.mark.parametrize("limit", [POLL_LIMIT // 2, POLL_LIMIT - 1, POLL_LIMIT])
def test_no_handler_gets_more_than_the_limit(limit: int) -> None:
    assert next_limit(limit, 0.0) == POLL_LIMIT


@pytest.mark.parametrize(("limit", "expected"), [(500, 250), (5, 2), (2, 1)])
def test_a_slow_handler_gets_half_as_many(limit: int, expected: int) -> None:
    assert next_limit(limit, SLOW) == expected


def test_every_handler_gets_one_at_least() -> None:
    assert next_limit(1, SLOW) == 1


def test_a_handler_that_takes_just_as_long_as_it_may_is_quick() -> None:
    assert next_limit(4, HANDLE_FOR) == 8


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05, 1.0, 60.0])
def test_two_polls_are_no_further_apart_than_aimed_at_or_one_message(seconds: float) -> None:
    limits = list(
        accumulate(repeat(seconds, 50), lambda n, each: next_limit(n, n * each), initial=1)
    )

    assert max(limits[10:]) * seconds <= max(2 * HANDLE_FOR, seconds)
    assert all(1 <= limit <= POLL_LIMIT for limit in limits)
