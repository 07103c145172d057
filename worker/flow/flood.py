"""When too many messages of a partition fail, and how it finds out that they do not any more."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from worker.settings import FloodLimitSettings

WAITS: Final = (1.0, 30.0)
"""Seconds to wait before a probe: after the first that has failed, and at most."""
TRIES: Final = 3
"""Probes as which the same message fails before it is given up."""
ENOUGH: Final = 3
"""Probes in a row that end a flood."""


class Flood:
    """The failures of one partition that are for good; times on a clock that only grows.

    While it is flooded messages go one at a time, as probes, and are given up only now and then.
    """

    __slots__ = (
        "_failures",
        "_in_a_row",
        "_limit",
        "_passed",
        "_probe_at",
        "_seen",
        "_tries",
        "_wait",
        "is_flooded",
    )

    is_flooded: bool
    _seen: int
    _in_a_row: int
    _failures: deque[int]
    """When messages have failed, in messages seen before."""
    _probe_at: float
    _wait: float
    _passed: int
    """Probes in a row that were handled."""
    _tries: Counter[int]
    """Probes that have failed, by offset."""

    def __init__(self, limit: FloodLimitSettings) -> None:
        self._limit = limit
        self._begin_anew()

    def passed(self, messages: int, now: float) -> None:
        """So many messages were handled."""
        if not self.is_flooded:
            self._seen += messages
            self._in_a_row = 0
        elif now >= self._probe_at:
            self._passed += messages
            self._wait = WAITS[0]
            if self._passed >= ENOUGH:
                self._begin_anew()

    def failed(self, offset: int, now: float) -> bool:
        """A message has failed for good; whether it comes again instead of being given up."""
        if not self.is_flooded:
            self._count()
            if self._is_too_much():
                self.is_flooded, self._probe_at = True, now + self._wait
            return self.is_flooded
        if now < self._probe_at:  # it was at work when the flood began
            return True
        self._passed = 0
        self._wait = min(2 * self._wait, WAITS[1])
        self._probe_at = now + self._wait
        self._tries[offset] += 1
        return self._tries[offset] < TRIES

    def may_probe(self, now: float) -> bool:
        """Whether it is time for a probe."""
        return now >= self._probe_at

    @property
    def probe_at(self) -> float:
        """When that is."""
        return self._probe_at

    def _begin_anew(self) -> None:
        self.is_flooded = False
        self._seen = 0
        self._in_a_row = 0
        self._failures = deque()
        self._probe_at = 0.0
        self._wait = WAITS[0]
        self._passed = 0
        self._tries = Counter()

    def _count(self) -> None:
        self._failures.append(self._seen)
        self._seen += 1
        self._in_a_row += 1
        while self._failures[0] < self._seen - self._limit.window:
            self._failures.popleft()

    def _is_too_much(self) -> bool:
        return (
            self._in_a_row > self._limit.max_consecutive
            or len(self._failures) > self._limit.max_ratio * self._limit.window
        )
