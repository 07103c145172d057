"""Messages that have failed and are not finished: how often, and since when."""

from __future__ import annotations

from typing import NamedTuple

from worker.flow.offsets import Ranges


class Tried(NamedTuple):
    """How often a message has failed."""

    attempts: int
    first_failure: int
    """Milliseconds since 1970."""


class Attempts(dict[int, Tried]):
    """The failed attempts at messages of one partition by offset, until these are finished."""

    __slots__ = ()

    def failed(self, offset: int, now: int) -> Tried:
        """Count an attempt that has failed now, in milliseconds since 1970; returns all of them."""
        before = self.get(offset, Tried(0, now))
        self[offset] = Tried(before.attempts + 1, before.first_failure)
        return self[offset]

    def forget(self, ranges: Ranges) -> None:
        """Forget messages: they are finished."""
        for start, end in ranges:
            few = self if len(self) < end - start else range(start, end)
            for offset in [one for one in few if start <= one < end and one in self]:
                del self[offset]
