"""A dependency that pipelines share: while it is away they hand nothing out but probes."""

from __future__ import annotations

import logging
import sys
from math import inf
from threading import Lock

from worker.flow.breaker import Circuit
from worker.settings import BreakerSettings

log = logging.getLogger(__name__)


class Breaker:
    """The circuit of a name, for every pipeline of the process that names it; for any thread.

    It knows nothing of partitions, so that no rebalance touches it. Times are on the monotonic
    clock.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._circuit = Circuit()
        self._why = ""

    @property
    def recoveries(self) -> int:
        """How often the dependency has done its work again after a failure."""
        return self._circuit.recoveries

    @property
    def is_open(self) -> bool:
        """Whether nothing but probes may go."""
        return self._circuit.is_open

    @property
    def why_open(self) -> str | None:
        """Why nothing is handed out; None while it is."""
        circuit = self._circuit
        if not circuit.is_open:
            return None
        return (
            f"breaker {self._settings.name} is open after {circuit.failures} failures in a row, "
            f"the last {self._why}"
        )

    def room(self, now: float) -> int:
        """How many messages may go now; while it is open a probe after each `reset`."""
        circuit = self._circuit
        return 1 if circuit.may_probe(now) else 0 if circuit.is_open else sys.maxsize

    @property
    def due(self) -> float:
        """When the next message may go."""
        probe_at = self._circuit.probe_at
        return -inf if probe_at is None else probe_at

    def take(self, now: float) -> None:
        """Messages go: if it is open, the next probe may go after another `reset`.

        Pipelines that look at the same moment may send one each.
        """
        if self._circuit.is_open:
            with self._lock:
                if self._circuit.may_probe(now):
                    self._circuit = self._circuit.probing(self._settings, now)

    def failed(self, now: float, why: str) -> None:
        """A message has failed because the dependency is away."""
        with self._lock:
            before, self._why = self._circuit, why
            after = self._circuit = before.failed(self._settings, now)
        if after.is_open and not before.is_open:
            log.error("%s; one message is tried every %gs", self.why_open, self._settings.reset)

    def succeeded(self, now: float) -> None:
        """A message was handled."""
        if not self._circuit.failures:
            return
        with self._lock:
            before = self._circuit
            after = self._circuit = before.succeeded(now)
        if before.is_open and not after.is_open:
            log.warning("breaker %s is closed again", self._settings.name)
