"""How far a partition is behind in time: what messages tell and what is known of the log's end."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import Final

KEPT: Final = 64
"""Samples of a kind at most; then every second one goes."""

Sample = tuple[int, float]
"""An offset and a time."""


class Samples:
    """Times at offsets, few of many."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def note(self, offset: int, time: float) -> None:
        """Note a time; of the same offset the last one counts."""
        place = bisect_right(self._samples, (offset, -inf))
        is_known = place < len(self._samples) and self._samples[place][0] == offset
        self._samples[place : place + is_known] = [(offset, time)]
        if len(self._samples) > KEPT:
            del self._samples[1:-1:2]

    def forget(self, offset: int) -> None:
        """Forget what lies in front of the last sample up to an offset."""
        del self._samples[: max(0, self._behind(offset) - 1)]

    def up_to(self, offset: int) -> Sample | None:
        """The last sample at this offset or in front of it."""
        place = self._behind(offset)
        return self._samples[place - 1] if place else None

    def above(self, offset: int) -> Sample | None:
        """The first sample behind this offset."""
        place = self._behind(offset)
        return self._samples[place] if place < len(self._samples) else None

    def at(self, offset: int) -> float | None:
        """The time of an offset: between two samples even, behind the last one that one's.

        None in front of the first.
        """
        found, behind = self.up_to(offset), self.above(offset)
        if found is None:
            return None
        before, then = found
        if behind is None:
            return then
        return then + (behind[1] - then) * (offset - before) / (behind[0] - before)

    def _behind(self, offset: int) -> int:
        return bisect_right(self._samples, (offset, inf))


class Ages:
    """How old what a partition has not finished is, and its commit; looked at now and then."""

    def __init__(self) -> None:
        self._records = Samples()
        """By the time that records have."""
        self._ended = Samples()
        """When the log was no longer: what is behind was written later."""
        self._reached = Samples()
        """When the log was seen to be so long: what is in front was written earlier."""
        self._committed: int | None = None
        self._since: float | None = None

    def taken(self, offset: int, timestamp: float) -> None:
        """Note the timestamp of a record, in seconds since 1970; 0 or less is none."""
        if timestamp > 0.0:
            self._records.note(offset, timestamp)

    def ended(self, end: int, time: float) -> None:
        """Note that at this time the log was no longer."""
        self._ended.note(end, time)

    def reached(self, end: int, time: float) -> None:
        """Note that at this time the log was as long."""
        if self._reached.above(end - 1) is None:
            self._reached.note(end, time)

    def behind(self, committable: int, end: int | None, time: float) -> float | None:
        """Seconds since the first record was written that is not finished; 0 where all are.

        None where that is not known.
        """
        for samples in (self._records, self._ended, self._reached):
            samples.forget(committable)
        if end is not None and committable >= end:
            return 0.0
        since = self._written(committable)
        return None if end is None or since is None else max(0.0, time - since)

    def _written(self, offset: int) -> float | None:
        """A record is no older than those in front of it, nor than an end that it lies behind."""
        ended = self._ended.up_to(offset)
        known = self._records.at(offset), None if ended is None else ended[1]
        found = [time for time in known if time is not None]
        return self.no_later(offset, max(found)) if found else None

    def no_later(self, offset: int, time: float) -> float:
        """The time of a record, or when the log was seen to hold it: clocks may be ahead."""
        reached = self._reached.above(offset)
        return time if reached is None else min(time, reached[1])

    def commit_age(self, committed: int | None, end: int | None, now: float) -> float:
        """Seconds since the committed offset has moved; 0 while there is nothing behind it."""
        is_all = committed is not None and end is not None and committed >= end
        if self._since is None or committed != self._committed or is_all:
            self._committed, self._since = committed, now
        return now - self._since


def furthest(end: int | None, other: int) -> int:
    """The later of what is known of the end of a log: it only grows."""
    return other if end is None else max(end, other)
