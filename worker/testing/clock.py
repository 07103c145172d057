"""Time that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Final

from worker.ports import Clock

FREE_WAITS: Final = 4
"""Waits of a step that take no time: for handlers, for those apart, for brokers, for messages."""

LEAST: Final = 1e-6
"""Seconds that pass at least when a step waits longer: less is nothing beside large numbers."""


class ManualClock(Clock):
    """A clock that `advance` moves; both its times are in seconds."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._start = time
        self._passed = 0.0

    def monotonic(self) -> float:
        """Seconds that were advanced."""
        return self._passed

    def time(self) -> float:
        """Seconds since 1970."""
        return self._start + self._passed

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        require_passing(seconds)
        self._passed += seconds

    def reach(self, time: float) -> None:
        """Let it be no earlier than so many seconds since 1970; nothing takes long by that."""
        self._start = max(self._start, time - self._passed)

    def set_off(self, seconds: float) -> None:
        """Let the time of day be another one, as when it is corrected; nothing else passes."""
        self._start += seconds

    def wait(self, deadline: float) -> bool:  # noqa: ARG002
        """Wait for others; never, since nothing happens meanwhile: False, as if time were over."""
        return False


class VirtualClock(ManualClock):
    """Time that jumps from one moment at which something happens to the next.

    A step of a pipeline takes no time, but for one that waits again and again for what does not
    come, as in a rebalance: then it passes.
    """

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        super().__init__(time)
        self._actions: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._waits = 0

    @property
    def due(self) -> float:
        """When the next of what `at` was told happens."""
        return self._actions[0][0] if self._actions else inf

    def at(self, moment: float, action: Callable[[], object]) -> None:
        """Have something happen at a moment on the monotonic clock, or now if that is past."""
        heappush(self._actions, (max(moment, self._passed), next(self._order), action))

    def begin_step(self) -> None:
        """Take note that a step begins."""
        self._waits = 0

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due meanwhile happen, in order."""
        require_passing(seconds)
        moment = self._passed + seconds
        while self.due <= moment:
            self._happen()
        self._passed = max(self._passed, moment)

    def wait(self, deadline: float) -> bool:
        """Wait until something happens; whether to look for it, since the time is not over."""
        self._waits += 1
        if self._waits <= FREE_WAITS or deadline < self._passed:
            return False
        if self.due <= deadline:
            self._happen()
        else:
            self._passed = max(deadline, self._passed + LEAST)
        return True

    def _happen(self) -> None:
        moment, _, action = heappop(self._actions)
        self._passed = max(self._passed, moment)
        action()


def require_passing(seconds: float) -> None:
    """Raise `ValueError` where time cannot pass like that."""
    if not 0 <= seconds < inf:
        raise ValueError(f"time cannot pass by {seconds:g} s: give seconds >= 0, with an end")
