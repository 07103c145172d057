"""How far a partition is behind in time: seen from samples, since no offset says when it was."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

KEPT: Final = 64
"""Samples of a partition at most; then every second one goes."""


class Written:
    """When the records of a partition were written: samples, in between taken as even."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float]] = deque()

    def note(self, offset: int, time: float) -> None:
        """Note when a record was written; not where one behind it is known already.

        Of the same offset the last time counts.
        """
        samples = self._samples
        if samples and offset < samples[-1][0]:
            return
        if samples and offset == samples[-1][0]:
            samples.pop()
        samples.append((offset, time))
        if len(samples) > KEPT:
            newest = samples.pop()
            self._samples = deque((*islice(samples, 0, None, 2), newest))

    def reaches(self, offset: int) -> bool:
        """Whether there is a sample of this offset, or of one in front of it."""
        return bool(self._samples) and self._samples[0][0] <= offset

    def at(self, offset: int) -> float | None:
        """When the record of an offset was written, in seconds since 1970; None without samples.

        In front of the first sample that of the first, behind the last that of the last. What lies
        further back is forgotten.
        """
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= offset:
            samples.popleft()
        if not samples:
            return None
        (before, then), *rest = islice(samples, 2)
        if not rest or offset <= before:
            return then
        behind, later = rest[0]
        return then + (later - then) * (offset - before) / (behind - before)


class Ages:
    """How old what a partition has not finished is, and its commit; looked at now and then."""

    def __init__(self) -> None:
        self._records = Written()
        """By the time that records have."""
        self._ends = Written()
        """By when the log ended there: what is behind was written later."""
        self._committed: int | None = None
        self._since: float | None = None

    def taken(self, offset: int, timestamp: float) -> None:
        """Note the timestamp of a record, in seconds since 1970; 0 or less is none."""
        if timestamp > 0.0:
            self._records.note(offset, timestamp)

    def ended(self, end: int, time: float) -> None:
        """Note where the log ends."""
        self._ends.note(end, time)

    def behind(self, committable: int, end: int | None, time: float) -> float | None:
        """Seconds since the first record was written that is not finished; 0 where all are.

        None where that is not known. It is the later of what timestamps and ends say: a record that
        was not read yet is no older than those in front of it.
        """
        if end is not None and committable >= end:
            self._records.at(committable)
            self._ends.at(committable)
            return 0.0
        by_end = self._ends.at(committable) if self._ends.reaches(committable) else None
        found = [one for one in (self._records.at(committable), by_end) if one is not None]
        if end is None or not found:
            return None
        return max(0.0, time - max(found))

    def commit_age(self, committed: int | None, end: int | None, now: float) -> float:
        """Seconds since the committed offset has moved; 0 while there is nothing behind it."""
        is_all = committed is not None and end is not None and committed >= end
        if self._since is None or committed != self._committed or is_all:
            self._committed, self._since = committed, now
        return now - self._since


def furthest(end: int | None, other: int) -> int:
    """The later of what is known of the end of a log: it only grows."""
    return other if end is None else max(end, other)
