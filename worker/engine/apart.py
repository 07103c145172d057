"""A process of its own for messages that may have ended the worker."""

from __future__ import annotations

from collections.abc import Callable, Collection

from worker.engine.partition import Finished, Run
from worker.engine.pool import Pool


class Apart:
    """A pool that is made when it is first needed, and again after it was closed."""

    def __init__(self, make: Callable[[], Pool] | None) -> None:
        self._make = make
        self._pool: Pool | None = None
        self.runs: set[Run] = set()
        """What has not come back."""

    @property
    def is_open(self) -> bool:
        """Whether there is a pool."""
        return self._pool is not None

    def submit(self, run: Run) -> None:
        """Hand a run over; only where a pool can be made."""
        assert self._make is not None  # noqa: S101 - see `Trial.can_be_apart`
        if self._pool is None:
            self._pool = self._make()
            self._pool.start(iter(()))
        self.runs.add(run)
        self._pool.submit(run)

    def collect(self) -> list[Finished]:
        """What has come back; raises `PipelineFailed` when no process can be had."""
        finished = [] if self._pool is None else self._pool.collect(0.0)
        self.runs.difference_update(one.run for one in finished)
        return finished

    def close(self) -> Collection[Run]:
        """Let go of the process; returns the runs that never come back."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        lost, self.runs = self.runs, set()
        return lost
