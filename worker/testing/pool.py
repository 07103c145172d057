"""Handlers in the thread that takes the steps."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import perf_counter
from typing import Final

from worker.app.pools import Handled
from worker.engine.partition import Finished, Run
from worker.engine.pool import ANY_NUMBER, LoopThread
from worker.flow.suspects import Suspects, crashed
from worker.settings import Pipeline
from worker.testing.clock import VirtualClock
from worker.types import Failed, Outcome

SIZE: Final = 4
"""Handlers of a pipeline that are at work beside each other where it does not say how many."""

Seconds = Callable[[Run], float]
"""How long handlers are at a run."""


class InlinePool:
    """Implements `engine.pool.Pool`: runs are handled when they are collected.

    As if handlers took no time; a subclass says of which runs they have not come to an end.
    """

    appetite: Final = ANY_NUMBER
    hindrance: Final = None

    def __init__(
        self, execute: Callable[[Run], list[Outcome]], size: int = 1, *, in_process: bool = True
    ) -> None:
        self.size = size
        self.in_process = in_process
        self.steps: Iterator[None] = iter(())
        """Those of the pipeline, for who takes them."""
        self.traffic = 0
        """How many runs were given to it, and have come back."""
        self._execute = execute
        self.runs: list[Run] = []
        """Those that are out."""

    def is_over(self, run: Run) -> bool:  # noqa: ARG002
        """Whether the handler has come to the end of a run."""
        return True

    @property
    def due(self) -> float:
        """When the next run comes back, on the monotonic clock."""
        return -inf if any(map(self.is_over, self.runs)) else inf

    @property
    def outstanding(self) -> int:
        """See `Pool`."""
        return len(self.runs)

    @property
    def saturated(self) -> bool:
        """See `Pool`."""
        return len(self.runs) >= self.size

    def start(self, steps: Iterator[None]) -> None:
        """See `Pool`; nobody takes them but who asks for `steps`."""
        self.steps = steps

    def submit(self, run: Run) -> None:
        """See `Pool`."""
        self.traffic += 1
        self.runs.append(run)

    def collect(self, timeout: float) -> list[Finished]:  # noqa: ARG002
        """See `Pool`; nothing is waited for."""
        over = [run for run in self.runs if self.is_over(run)]
        self.runs = [run for run in self.runs if run not in over]
        self.traffic += len(over)
        return [*map(self._finished, over)]

    def recall(self) -> Sequence[Run]:
        """See `Pool`; each run begins at once."""
        return ()

    def close(self) -> None:
        """See `Pool`."""
        self.runs.clear()

    def _finished(self, run: Run) -> Finished:
        begun = perf_counter()
        return Finished(run, self._execute(run), seconds=perf_counter() - begun)


class VirtualPool(InlinePool):
    """Handlers that take virtual time."""

    def __init__(
        self,
        execute: Callable[[Run], list[Outcome]],
        size: int,
        clock: VirtualClock,
        seconds: Seconds,
        *,
        in_process: bool,
    ) -> None:
        super().__init__(execute, size, in_process=in_process)
        self._clock = clock
        self._seconds = seconds
        self._begun: dict[Run, float] = {}
        self._ends: dict[Run, float] = {}

    def is_over(self, run: Run) -> bool:
        """Whether its time is over."""
        return self._ends[run] <= self._clock.monotonic()

    @property
    def due(self) -> float:
        """See `InlinePool`."""
        return min((self._ends[run] for run in self.runs), default=inf)

    def submit(self, run: Run) -> None:
        """See `Pool`."""
        self._begun[run] = run.begun = self._clock.monotonic()
        self._ends[run] = run.begun + self._seconds(run)
        super().submit(run)

    def collect(self, timeout: float) -> list[Finished]:
        """See `Pool`."""
        deadline = self._clock.monotonic() + timeout
        if self.runs and self.due > self._clock.monotonic():
            self._clock.wait(min(deadline, self.due))
        finished = super().collect(timeout)
        for one in finished:
            one.seconds = self._clock.monotonic() - self._begun.pop(one.run)
            del self._ends[one.run]
        return finished


class ApartPool(VirtualPool):
    """A handler in a process of its own, which may end without the worker."""

    def __init__(
        self,
        execute: Callable[[Run], list[Outcome]],
        clock: VirtualClock,
        seconds: Seconds,
    ) -> None:
        super().__init__(execute, 1, clock, seconds, in_process=False)
        self.has_ended = False
        """Whether the process has ended during what its handler is at."""
        self._is_at_work = False
        self._suspects = Suspects()

    def end(self) -> bool:
        """Let the process end, if its handler is at work; whether it was."""
        self.has_ended |= self._is_at_work
        return self._is_at_work

    def _finished(self, run: Run) -> Finished:
        place = run.partition.source, run.messages[0].offset()
        fate = self._suspects.fate(place)
        if fate is not None:
            failure, seconds = fate
            return Finished(run, [Failed(failure)], seconds=seconds)
        self._is_at_work = True
        finished = super()._finished(run)
        self._is_at_work = False
        if self.has_ended:
            self.has_ended = False
            failure = crashed(-signal.SIGKILL)
            self._suspects.blame([place], failure, finished.seconds, certain=False)
            return Finished(run, ())
        self._suspects.acquit([place])
        return finished


class InlinePools:
    """Implements `app.pools.Pools`, whatever the spec says of processes."""

    def __init__(self, loop: LoopThread, clock: VirtualClock, seconds: Seconds) -> None:
        self.made: dict[str, list[VirtualPool]] = {}
        """Those of each pipeline, its own first."""
        self.apart: list[ApartPool] = []
        """Of these, those apart."""
        self._loop = loop
        self._clock = clock
        self._seconds = seconds

    def shares_resources(self, pipeline: Pipeline) -> bool:  # noqa: ARG002
        """See `Pools`."""
        return True

    def make(self, handled: Handled) -> VirtualPool:
        """See `Pools`."""
        pipeline, execute = handled.pipeline, self._execute(handled)
        size, in_process = pipeline.concurrency or SIZE, pipeline.pool != "process"
        pool = VirtualPool(execute, size, self._clock, self._seconds, in_process=in_process)
        self.made.setdefault(handled.name, []).append(pool)
        return pool

    def make_apart(self, handled: Handled) -> ApartPool:
        """See `Pools`."""
        pool = ApartPool(self._execute(handled), self._clock, self._seconds)
        self.made[handled.name].append(pool)
        self.apart.append(pool)
        return pool

    def _execute(self, handled: Handled) -> Callable[[Run], list[Outcome]]:
        executor = handled.executor()

        def waited_for(run: Run) -> list[Outcome]:
            outcomes: list[Outcome] = self._loop.spawn(executor.execute_async(run)).result()
            return outcomes

        return waited_for if handled.handler.is_async else executor.execute
