"""Which offset is safe to commit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.flow.offsets import OffsetTracker


def test_nothing_is_committable_beyond_the_start_before_a_message_is_finished() -> None:
    tracker = OffsetTracker(5)

    tracker.take(5, 9)

    assert tracker.committable == 5
    assert tracker.position == 10


def test_offsets_finished_in_order_become_committable_at_once() -> None:
    tracker = OffsetTracker(0)
    tracker.take(0, 9)

    tracker.finish(0, 4)

    assert tracker.committable == 4
    assert tracker.ranges() == []


def test_a_range_finished_early_waits_for_the_messages_below_it() -> None:
    tracker = OffsetTracker(0)
    tracker.take(0, 9)

    tracker.finish(5, 10)

    assert tracker.committable == 0
    assert tracker.ranges() == [(5, 10)]

    tracker.finish(0, 5)

    assert tracker.committable == 10
    assert tracker.ranges() == []


def test_offsets_that_the_log_jumped_over_count_as_finished() -> None:
    tracker = OffsetTracker(0)

    tracker.take(3, 4)

    assert tracker.committable == 3

    tracker.finish(3, 5)
    tracker.take(8, 8)

    assert tracker.committable == 8


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
    start=st.integers(0, 1000),
)
def test_committable_is_the_first_unfinished_offset_in_whatever_order_ranges_finish(
    lengths: list[int], order: object, start: int
) -> None:
    bounds = [start]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    ranges = list(pairwise(bounds))
    order.shuffle(ranges)  # type: ignore[attr-defined]
    tracker = OffsetTracker(start)
    tracker.take(start, bounds[-1] - 1)
    unfinished = set(range(start, bounds[-1]))
    seen = start

    for low, high in ranges:
        tracker.finish(low, high)
        unfinished -= set(range(low, high))

        assert tracker.committable == min(unfinished, default=bounds[-1])
        assert tracker.committable >= seen
        seen = tracker.committable
        finished_above = {o for low, high in tracker.ranges() for o in range(low, high)}
        assert finished_above == {
            o for o in range(tracker.committable, bounds[-1]) if o not in unfinished
        }
