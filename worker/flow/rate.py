"""How fast a pipeline, or one lane of it, may go."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from math import floor, inf
from typing import Final

CREDIT: Final = 0.1
"""Seconds whose messages may be made up for at once, since a loop looks only now and then."""

SWEEP_AT: Final = 1_000
"""Lanes of which something is kept before those are forgotten that may go."""


class Rate:
    """At most so many messages a second, by the generic cell rate algorithm (ITU-T I.371).

    Kept is the moment at which the next message would go at an even pace; one may go when that is
    no more than `credit` seconds ahead of the clock.
    """

    __slots__ = ("_ahead", "_credit", "_interval")

    def __init__(self, per_second: float, credit: float = CREDIT) -> None:
        self._interval = 1 / per_second
        self._credit = credit
        self._ahead = float("-inf")

    def room(self, now: float) -> int:
        """How many messages may go now."""
        free = now + self._credit - max(self._ahead, now)
        return max(0, floor(free / self._interval + 1e-6) + 1)

    @property
    def due(self) -> float:
        """When the next message may go."""
        return self._ahead - self._credit

    def take(self, messages: int, now: float) -> None:
        """So many go."""
        self._ahead = max(self._ahead, now) + messages * self._interval

    def give_back(self, messages: int) -> None:
        """So many have not gone after all."""
        self._ahead -= messages * self._interval


class InLumps(Rate):
    """A rate that, once it is used up, has no room before there is some for a `lump` of messages.

    For what costs less when it comes together than when it comes evenly.
    """

    __slots__ = ("_lump", "_used_up")

    def __init__(self, per_second: float, credit: float, lump: int) -> None:
        super().__init__(per_second, credit)
        self._lump = lump
        self._used_up = False

    def room(self, now: float) -> int:
        """See `Rate`."""
        room = super().room(now)
        self._used_up = room < (self._lump if self._used_up else 1)
        return 0 if self._used_up else room


class Unlimited(Rate):
    """As fast as handlers are."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(per_second=1.0)

    def room(self, now: float) -> int:  # noqa: ARG002
        """See `Rate`."""
        return sys.maxsize

    @property
    def due(self) -> float:
        """See `Rate`."""
        return -inf


class LaneRates:
    """At most so many messages a second of each lane, wherever its messages come from."""

    __slots__ = ("_ahead", "_interval", "_sweep_at")

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._ahead: dict[Hashable, float] = {}
        self._sweep_at = SWEEP_AT

    def due(self, lane: Hashable, now: float) -> float:
        """When the next message of a lane may go; `now` if it may."""
        return max(now, self._ahead.get(lane, now) - CREDIT)

    def take(self, lane: Hashable, now: float) -> None:
        """A message of a lane goes."""
        self._ahead[lane] = max(self._ahead.get(lane, now), now) + self._interval
        if len(self._ahead) >= self._sweep_at:
            self._ahead = {lane: ahead for lane, ahead in self._ahead.items() if ahead > now}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._ahead))

    def give_back(self, lane: Hashable) -> None:
        """A message of a lane has not gone after all."""
        if lane in self._ahead:
            self._ahead[lane] -= self._interval
