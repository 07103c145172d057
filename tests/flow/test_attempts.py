"""How often messages have failed, until they are finished."""

from __future__ import annotations

import pytest

from worker.flow.attempts import Attempts, Tried
from worker.flow.offsets import Ranges


def test_attempts_are_counted_by_message_and_the_first_failure_is_kept() -> None:
    attempts = Attempts()

    first = attempts.failed(5, now=1_000)
    other = attempts.failed(6, now=1_500)
    second = attempts.failed(5, now=2_000)

    assert (first, other, second) == (Tried(1, 1_000), Tried(1, 1_500), Tried(2, 1_000))
    assert attempts[5] == second


@pytest.mark.parametrize(
    ("ranges", "left"),
    [
        ([(0, 5)], {5, 6, 9}),
        ([(5, 6)], {6, 9}),
        ([(5, 9)], {9}),
        ([(0, 6), (9, 10)], {6}),
        ([(0, 10**12)], set()),
    ],
)
def test_what_is_finished_is_forgotten(ranges: Ranges, left: set[int]) -> None:
    attempts = Attempts()
    for offset in (5, 6, 9):
        attempts.failed(offset, now=0)

    attempts.forget(ranges)

    assert attempts.keys() == left


def test_an_attempt_is_excused_unless_what_was_away_has_come_back_since_the_one_before() -> None:
    attempts = Attempts()

    counted = [attempts.failed(5, 0, recoveries).counted for recoveries in (0, 0, 1, 1, 2, None, 2)]

    assert counted == [0, 0, 1, 1, 2, 3, 3]
    assert attempts[5].attempts == 7
