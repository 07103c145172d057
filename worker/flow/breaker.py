"""When a dependency counts as away, and when it is tried whether it is back."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from worker.errors import Retry
from worker.flow.retry import RETRIED, names_of
from worker.settings import BreakerSettings


class Circuit(NamedTuple):
    """What is known of a dependency: open while it is away; times on a clock that only grows."""

    failures: int = 0
    """In a row."""
    recoveries: int = 0
    """How often a success has followed a failure."""
    telling_from: float = -inf
    """What comes back earlier tells nothing: it began before the circuit opened."""
    probe_at: float | None = None
    """While open, when a message may go next, as a probe."""

    @property
    def is_open(self) -> bool:
        """Whether nothing but probes may go."""
        return self.probe_at is not None

    def failed(self, settings: BreakerSettings, now: float) -> Circuit:
        """After a failure: opened by one too many, kept open by that of a probe."""
        circuit = self._replace(failures=self.failures + 1)
        if not self.is_open and circuit.failures >= settings.failures:
            due = now + settings.reset
            return circuit._replace(telling_from=due, probe_at=due)
        if self.is_open and now >= self.telling_from:
            return circuit._replace(probe_at=now + settings.reset)
        return circuit

    def succeeded(self, now: float) -> Circuit:
        """After a success: closed, if it tells anything."""
        if not self.failures or now < self.telling_from:
            return self
        return Circuit(recoveries=self.recoveries + 1)

    def may_probe(self, now: float) -> bool:
        """Whether it is time for a probe."""
        return self.probe_at is not None and self.probe_at <= now

    def probing(self, settings: BreakerSettings, now: float) -> Circuit:
        """With a probe on its way; the next may go after `reset`, if this one never comes back."""
        return self._replace(probe_at=now + settings.reset)


def is_away(settings: BreakerSettings | None, reason: str, kind: type[BaseException]) -> bool:
    """Whether a failure for this reason, with this exception, says that the dependency is away."""
    if settings is None or reason not in RETRIED:
        return False
    if settings.on is None:
        return not issubclass(kind, Retry)
    return not names_of(kind).isdisjoint(settings.on)
