"""Messages that have failed and are not finished: how often, and since when."""

from __future__ import annotations

from typing import NamedTuple

from worker.flow.offsets import Ranges


class Tried(NamedTuple):
    """How often a message has failed."""

    attempts: int
    first_failure: int
    """Milliseconds since 1970."""
    excused: int = 0
    """Of these, those that do not count: what the message needs seemed to be away."""
    recoveries: int | None = None
    """How often that had come back when the last failed; None where it was not away."""

    @property
    def counted(self) -> int:
        """Attempts that count."""
        return self.attempts - self.excused


class Attempts(dict[int, Tried]):
    """The failed attempts at messages of one partition by offset, until these are finished."""

    __slots__ = ()

    def failed(self, offset: int, now: int, recoveries: int | None = None) -> Tried:
        """Note an attempt that has failed now, in milliseconds since 1970; returns all of them.

        Where what the message needs seems to be away, `recoveries` is how often that has come
        back; if it has not since the attempt before, this one is excused.
        """
        before = self.get(offset, Tried(0, now))
        is_excused = recoveries is not None and before.recoveries in (None, recoveries)
        self[offset] = Tried(
            before.attempts + 1, before.first_failure, before.excused + is_excused, recoveries
        )
        return self[offset]

    def forget(self, ranges: Ranges) -> None:
        """Forget messages: they are finished."""
        for start, end in ranges:
            few = self if len(self) < end - start else range(start, end)
            for offset in [one for one in few if start <= one < end and one in self]:
                del self[offset]
