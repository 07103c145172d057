"""Which offset of a partition is safe to commit."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Ranges = Sequence[tuple[int, int]]
"""Offsets as ascending ranges, each of a start and an end that is not included."""


def ranges_of(offsets: Iterable[int]) -> Ranges:
    """These offsets, each given once, as ranges."""
    ranges: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if ranges and ranges[-1][1] == offset:
            ranges[-1] = (ranges[-1][0], offset + 1)
        else:
            ranges.append((offset, offset + 1))
    return ranges


class OffsetTracker:
    """The finished offsets of one partition, kept as ranges; some may be known at the start.

    Offsets name the next message, as Kafka commits them. Kafka leaves gaps (control records,
    compaction, aborted transactions); an offset that was jumped over counts as finished.
    """

    __slots__ = ("_ends", "_starts", "committable", "position")

    def __init__(self, start: int, finished: Ranges = ()) -> None:
        self.committable = start
        """Every message below is finished: the offset to commit."""
        self.position = start
        """The next message expected from the consumer."""
        self._starts = [first for first, _ in finished]
        self._ends = [end for _, end in finished]

    def copy(self) -> OffsetTracker:
        """Another one that knows the same."""
        other = OffsetTracker(self.committable, self.ranges())
        other.position = self.position
        return other

    def take(self, first: int, last: int) -> None:
        """Note messages `first` to `last` as received, and the gap in front of them as finished."""
        self.skip_to(first)
        self.position = last + 1

    def skip_to(self, offset: int) -> None:
        """Note that no further message comes before this offset."""
        if offset > self.position:
            self.finish(self.position, offset)
            self.position = offset

    def finish(self, start: int, end: int) -> None:
        """Note the offsets from `start` up to but not including `end` as finished."""
        if start > self.committable:
            self._merge(start, end)
            return
        self.committable = max(self.committable, end)
        while self._starts and self._starts[0] <= self.committable:
            self.committable = max(self.committable, self._ends[0])
            del self._starts[0], self._ends[0]

    @property
    def known(self) -> int:
        """No offset from here on is finished."""
        return self._ends[-1] if self._ends else self.committable

    def is_finished(self, offset: int) -> bool:
        """Whether the message at this offset is finished."""
        if offset < self.committable:
            return True
        index = bisect_right(self._starts, offset)
        return index > 0 and offset < self._ends[index - 1]

    def ranges(self) -> list[tuple[int, int]]:
        """The finished ranges above `committable`, ascending, as `(start, end)`, end excluded."""
        return list(zip(self._starts, self._ends, strict=True))

    def _merge(self, start: int, end: int) -> None:
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
