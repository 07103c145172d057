"""How long is waited after failures."""

from __future__ import annotations

from worker.flow.backoff import BACKOFF, WELL_AFTER, backoff, failures_in_a_row


def test_each_wait_is_twice_the_last_until_the_longest() -> None:
    waits = [backoff(failures) for failures in range(1, 100)]

    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF[1]


def test_after_long_work_the_count_begins_anew() -> None:
    assert failures_in_a_row(0, 0.1) == 1
    assert failures_in_a_row(5, WELL_AFTER - 1) == 6
    assert failures_in_a_row(5, WELL_AFTER) == 1
