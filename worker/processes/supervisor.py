"""The supervisor: starts processes, starts them again, sums them up and ends them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

from worker.flow.backoff import backoff, failures_in_a_row
from worker.flow.health import ProcessState, Snapshot
from worker.flow.supervision import Ending, code_of, decide, is_up
from worker.flow.totals import ended, reported, totals
from worker.ports import Clock
from worker.processes.child import Child, Target
from worker.processes.words import CLOSE_MARGIN

log = logging.getLogger(__name__)

TICK: Final = 0.1
"""Seconds between two looks at the processes."""
FORCE_WITHIN: Final = 5.0
"""Seconds that processes get to end at once."""


@dataclass(slots=True)
class _Place:
    """One of the processes, run after run."""

    state: ProcessState
    child: Child | None = None
    due: float | None = 0.0
    """When it is to be started; None while it runs and when it is never to run again."""
    begun: float = 0.0
    failures: int = 0
    code: int | None = None
    """How it ended for good."""


class Supervisor:
    """Runs a worker as several processes.

    `run` belongs to the main thread; `stop` and `snapshot` are for any thread and signal handler.
    The first process goes ahead, and the others follow when its pipelines have started: so what
    keeps all of them from starting is told once.
    """

    def __init__(
        self,
        name: str,
        version: str,
        processes: int,
        target: Target,
        clock: Clock,
        drain_timeout: float,
        serve: Callable[[Callable[[], Snapshot]], AbstractContextManager[object]],
    ) -> None:
        self._name = name
        self._version = version
        self._target = target
        self._clock = clock
        self._drain_timeout = drain_timeout
        self._serve = serve
        self._started = clock.time()
        self._places = [_Place(ProcessState(index)) for index in range(processes)]
        self._is_up = False
        self._ending = False
        """Whether one process has ended in a way that ends the others."""
        self._stops = 0
        self._forced = False
        self._deadline: float | None = None
        """When everything has to be over; known from the drain on."""

    def run(self) -> int:
        """Run until stopped, or until no process can go on; returns the exit code.

        Raises `CannotListen`.
        """
        pause = threading.Event()
        with self._serve(self.snapshot):
            try:
                while self._goes_on():
                    self._step()
                    pause.wait(TICK)
            finally:
                self._kill()
            self._bury()
            return code_of(place.code for place in self._places if place.code is not None)

    def stop(self) -> None:
        """Drain all processes and end; called a second time, end at once."""
        self._stops += 1

    def snapshot(self) -> Snapshot:
        """All processes as of now, and their totals."""
        processes = tuple(place.state for place in self._places)
        now = self._clock.monotonic()
        return Snapshot(
            self._name,
            self._version,
            self._started,
            now,
            draining=self._drains,
            pipelines=totals(processes, now),
            processes=processes,
            time=self._clock.time(),
        )

    @property
    def _drains(self) -> bool:
        return self._ending or self._stops > 0

    def _goes_on(self) -> bool:
        runs = any(True for _ in self._running())
        return runs or not (self._drains or all(place.due is None for place in self._places))

    def _running(self) -> Iterator[tuple[_Place, Child]]:
        return ((place, place.child) for place in self._places if place.child is not None)

    def _step(self) -> None:
        self._hear()
        self._bury()
        if self._drains:
            self._end()
        else:
            self._start()

    def _hear(self) -> None:
        for place, child in self._running():
            latest = child.latest
            if latest is not None and latest is not place.state.snapshot:
                place.state = reported(place.state, latest)
                self._is_up = self._is_up or is_up(latest)

    def _bury(self) -> None:
        for place, child in self._running():
            code = child.exit_code()
            if code is not None:
                child.close()
                self._hear()
                place.child = None
                self._settle(place, Ending(code, child.latest))

    def _settle(self, place: _Place, ending: Ending) -> None:
        """Decide what becomes of a process that has ended."""
        index = place.state.index
        fate = "leave" if self._drains else decide(ending, is_up=self._is_up)
        if fate == "restart":
            now = self._clock.monotonic()
            place.failures = failures_in_a_row(place.failures, now - place.begun)
            wait = backoff(place.failures)
            place.due = now + wait
            how = f"ended with {ending}, starts again"
            log.error("process %d ended with %s, starts again in %g s", index, ending, wait)
        else:
            place.code = ending.code
            self._ending = self._ending or fate == "end"
            how = f"ended with {ending}"
            log.log(logging.ERROR if ending.code else logging.INFO, "process %d %s", index, how)
        place.state = ended(place.state, how)

    def _start(self) -> None:
        """Start what is due; only the first process before that one is up."""
        for place in self._places if self._is_up else self._places[:1]:
            if place.due is not None and self._clock.monotonic() >= place.due:
                self._start_one(place)

    def _start_one(self, place: _Place) -> None:
        state = place.state
        place.begun = self._clock.monotonic()
        try:
            place.child = Child(state.index, self._target)
        except OSError as error:
            place.failures += 1
            place.due = place.begun + backoff(place.failures)
            place.state = replace(state, ended=f"cannot be started: {error}")
            log.error("process %d cannot be started: %s", state.index, error)  # noqa: TRY400
            return
        place.due = None
        again = 1 if state.ended is not None else 0
        place.state = replace(
            state, pid=place.child.pid, restarts=state.restarts + again, ended=None
        )
        log.info("process %d started as %d", state.index, place.child.pid)

    def _end(self) -> None:
        """Pass the stop on, the second too, and kill what has not ended in time."""
        now = self._clock.monotonic()
        if self._deadline is None:
            self._deadline = now + self._drain_timeout + CLOSE_MARGIN
            for _, child in self._running():
                child.tell("drain")
        if self._stops > 1 and not self._forced:
            self._forced = True
            self._deadline = min(self._deadline, now + FORCE_WITHIN)
            for _, child in self._running():
                child.tell("force")
        if now > self._deadline:
            self._kill()

    def _kill(self) -> None:
        for _, child in self._running():
            child.kill()
