"""Time that stands still until a test moves it."""

from __future__ import annotations

from worker.ports import Clock


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
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s: give seconds >= 0")
        self._passed += seconds
