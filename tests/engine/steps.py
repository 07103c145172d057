"""Steps that give runs out and collect them, as a pipeline's do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from threading import Event, current_thread

from worker.engine.partition import Finished, Partition, Run
from worker.engine.pool import Pool
from worker.flow.lanes import OneLane
from worker.types import StoredMessage, TopicPartition

PATIENCE = 20.0


def run(number: int = 0) -> Run:
    """A run of one message."""
    partition = Partition(TopicPartition("t", 0), 0, None, OneLane())
    return Run(partition, [StoredMessage("t", offset=number)])


class Steps:
    """Gives runs out as the pool has room for them, until all have come back."""

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool = pool
        self.finished: list[Finished] = []
        self.threads: list[threading.Thread] = []
        """Those that took steps, in order."""
        self.each: Callable[[], object] = lambda: None
        self._runs = [run(n) for n in range(number)]
        self._ended = Event()

    def take(self) -> Sequence[Finished]:
        """Take all steps."""
        self.pool.start(self._steps())
        assert self._ended.wait(PATIENCE), f"only {len(self.finished)} runs have come back"
        return self.finished

    def _steps(self) -> Iterator[None]:
        expected = len(self._runs)
        while len(self.finished) < expected:
            if current_thread() not in self.threads:
                self.threads.append(current_thread())
            self.each()
            self.finished += self.pool.collect(0.01)
            while self._runs and not self.pool.saturated:
                self.pool.submit(self._runs.pop(0))
            yield
        self.pool.close()
        self._ended.set()
