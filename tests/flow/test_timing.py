from __future__ import annotations

from collections.abc import Mapping

import pytest

from worker.flow.timing import BOUNDS, STAGES, Histogram, Laps, Timed, added, stages


def test_a_duration_is_counted_in_the_bucket_that_it_ends_in() -> None:
    histogram = Histogram()

    histogram.note(BOUNDS[3])
    histogram.note(BOUNDS[3] * 1.01, times=2)
    histogram.note(BOUNDS[-1] + 1)

    assert (histogram.buckets[3], histogram.buckets[4], histogram.buckets[-1]) == (1, 2, 1)
    assert histogram.count == 4
    assert histogram.seconds == pytest.approx(BOUNDS[3] * 3.02 + BOUNDS[-1] + 1)


def test_a_time_before_its_beginning_counts_as_none_and_does_not_shorten_others() -> None:
    histogram = Histogram()

    histogram.note(-5.0, times=3)
    histogram.note(1.0)

    assert (histogram.buckets[0], histogram.count, histogram.seconds) == (3, 4, 1.0)


def test_a_copy_does_not_change_any_more() -> None:
    histogram = Histogram()
    histogram.note(1.0)

    copy = histogram.copy()
    histogram.note(1.0)

    assert (copy.count, copy.seconds) == (1, 1.0)


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    one, other = Histogram(), Histogram()
    one.note(0.001, times=2)
    other.note(0.001)
    other.note(100.0)

    total = added([one, other])

    assert total.count == 4
    assert total.seconds == pytest.approx(100.003)
    assert max(total.buckets) == 3


def test_every_moment_is_part_of_the_stage_that_ends_with_it() -> None:
    now = iter([10.0, 11.0, 11.5, 15.5])
    seconds = stages()
    laps = Laps(seconds, lambda: next(now))

    laps.end("handler")
    laps.end("commit")
    laps.end("handler")

    assert spent_on(seconds) == {"handler": 5.0, "commit": 0.5}
    assert set(seconds) == set(STAGES)


def test_what_is_within_a_stage_is_part_of_another() -> None:
    now = iter([10.0, 11.0, 14.0, 16.0])
    seconds = stages()
    laps = Laps(seconds, lambda: next(now))

    with laps.within("commit"):
        pass
    laps.end("produce")

    assert spent_on(seconds) == {"commit": 3.0, "produce": 3.0}


def handled(*laps: tuple[float, int]) -> dict[str, float]:
    """Where the time goes of laps of so many seconds in which so many runs came back.

    Of each 4 s of the run that was measured 3 s were decoding.
    """
    seconds, now = stages(), [0.0]
    found = Laps(seconds, lambda: now[0])
    found.measured(3.0, 4.0)
    found.end_handling(1)
    for spent, runs in laps:
        now[0] += spent
        found.end_handling(runs)
    return spent_on(seconds)


def test_of_what_is_handled_decoding_has_its_share() -> None:
    assert handled((4.0, 1), (4.0, 1)) == {"decode": 6.0, "handler": 2.0}
    assert handled((8.0, 2)) == {"decode": 6.0, "handler": 2.0}
    assert handled((2.0, 0), (2.0, 1)) == {"decode": 3.0, "handler": 1.0}


def test_decoding_takes_no_longer_in_a_run_whose_handler_takes_longer() -> None:
    waiting = [(1.0, 0)] * 59

    assert handled(*waiting, (1.0, 1), (4.0, 1)) == {"decode": 6.0, "handler": 58.0}


def test_a_function_that_is_timed_does_what_it_does() -> None:
    timed = Timed(lambda value: 1 / len(value or b""))

    assert timed(b"ab") == 0.5
    first = timed.seconds
    with pytest.raises(ZeroDivisionError):
        timed(b"")

    assert timed.seconds > first > 0.0


def spent_on(seconds: Mapping[str, float]) -> dict[str, float]:
    return {stage: one for stage, one in seconds.items() if one}
