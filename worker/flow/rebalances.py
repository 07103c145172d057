"""Which changes of what a member of a group reads are rebalances of their own."""

from __future__ import annotations


class Rebalances:
    """Tells of each change whether a rebalance has begun with it.

    What is assigned after all was given back belongs to the same one, as where a group gives
    everything back first. A change of no partition is none: others have got on among themselves.
    """

    __slots__ = ("_has_given_all",)

    def __init__(self) -> None:
        self._has_given_all = False

    def assigned(self, partitions: int) -> bool:
        """So many were added."""
        begins = partitions > 0 and not self._has_given_all
        self._has_given_all = False
        return begins

    def taken(self, partitions: int, left: int) -> bool:
        """So many were given back or lost, and so many are left."""
        self._has_given_all = partitions > 0 and not left
        return partitions > 0
