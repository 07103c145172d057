"""Which changes of what a member of a group reads are rebalances of their own."""

from __future__ import annotations


class Rebalances:
    """Tells of each change whether a rebalance has begun with it, and how long one took.

    What is assigned after all was given back belongs to the same one, as where a group gives
    everything back first. A change of no partition is none: others have got on among themselves.
    """

    __slots__ = ("_has_given_all", "_seconds")

    def __init__(self) -> None:
        self._has_given_all = False
        self._seconds: float | None = None
        """What the changes of the rebalance that goes on have taken; None while none does."""

    def assigned(self, partitions: int) -> bool:
        """So many were added."""
        begins = partitions > 0 and not self._has_given_all
        self._has_given_all = False
        return self._begin(begins=begins)

    def taken(self, partitions: int, left: int) -> bool:
        """So many were given back or lost, and so many are left."""
        self._has_given_all = partitions > 0 and not left
        return self._begin(begins=partitions > 0)

    def took(self, seconds: float) -> float | None:
        """The change told last took so many; returns those of all its rebalance if it is over."""
        if self._seconds is None:
            return None
        self._seconds += seconds
        return None if self._has_given_all else self.end()

    def end(self) -> float | None:
        """Nothing will be assigned any more; returns the seconds of a rebalance that went on."""
        seconds, self._seconds = self._seconds, None
        return seconds

    def _begin(self, *, begins: bool) -> bool:
        if begins and self._seconds is None:
            self._seconds = 0.0
        return begins
