"""Handlers in threads: the one that leads the pipeline, and others for handlers that take long."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Final

from worker.engine.partition import Finished, Run
from worker.engine.pool import ANY_NUMBER, waiting_in
from worker.types import Outcome

log = logging.getLogger(__name__)

SLOW: Final = 100e-6
"""Seconds for a message from which on handlers have threads of their own.

Below it, handing messages over costs more than a second thread can win: both want the interpreter.
"""
ENOUGH: Final = 500
"""Messages that the leading thread handles between two steps, so that no result waits for long."""
PATIENCE: Final = 0.03
"""Seconds that a handler may keep the leading thread: more than a run takes that is not slow."""


class Watch:
    """Sees to it that no handler keeps a pipeline's leading thread for long; one for the process.

    Its thread sleeps while no leading thread handles runs.
    """

    def __init__(self) -> None:
        self.asleep = False
        self._pools: list[ThreadPool] = []
        self._called: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._started = False

    def add(self, pool: ThreadPool) -> None:
        """Watch this pool, too."""
        self._pools.append(pool)
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="watch", daemon=True).start()

    def wake(self) -> None:
        """Tell that a leading thread handles runs again."""
        self.asleep = False
        self._called.put(None)

    def _run(self) -> None:
        while True:
            if not self._look():
                self.asleep = True
                if not self._look():  # for who has begun without seeing it asleep
                    self._called.get()
                self.asleep = False
            sleep(PATIENCE)

    def _look(self) -> bool:
        """Relieve whoever takes long; whether any pool has handled runs since the last look."""
        return sum(pool.relieved_or_busy() for pool in self._pools) > 0


class ThreadPool:
    """Up to `size` handlers at a time, in threads that lead the pipeline in turn.

    Leader and followers (Schmidt, O'Ryan, Kircher and Pyarali, 2000): one thread leads. It takes
    the pipeline's steps, and between two of them it handles the runs itself that they gave out, as
    long as handlers are fast: a second thread would only compete for the interpreter. When one
    keeps it for more than `PATIENCE`, another thread leads on, so that the steps never wait; slow
    handlers get threads of their own from the start.
    """

    in_process: Final = True
    appetite: Final = ANY_NUMBER
    hindrance: Final = None

    def __init__(
        self, name: str, execute: Callable[[Run], list[Outcome]], size: int, watch: Watch
    ) -> None:
        self.outstanding = 0
        self._name = name
        self._execute = execute
        self._size = size
        self._watch = watch
        self._steps: Iterator[None]
        self._slow = False
        """Whether the last run took long for its messages."""
        self._given: deque[Run] = deque()
        """Runs that nobody has begun, which the leading thread handles or hands over."""
        self._given_messages = 0
        self._done: list[Finished] = []
        """Runs that the leading thread has handled."""
        self._away = 0
        """Runs that other threads have and that are not collected."""
        self._finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[Run | Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._starved = False
        """Whether no further thread could be started."""
        self._lent: deque[float] = deque()
        """Since when the leading thread handles a run; who takes it out leads from then on."""
        self._was_lent = False
        watch.add(self)

    def start(self, steps: Iterator[None]) -> None:
        """See `Pool`."""
        self._steps = steps
        self._start_thread()
        self._tasks.put(self._lead)

    @property
    def saturated(self) -> bool:
        """See `Pool`; the leading thread handles many runs one after the other."""
        if self._slow:
            return self.outstanding >= self._size
        return self._given_messages >= ENOUGH

    def submit(self, run: Run) -> None:
        """See `Pool`; the run begins when the step is over."""
        self.outstanding += 1
        self._given.append(run)
        self._given_messages += len(run.messages)

    def collect(self, timeout: float) -> list[Finished]:
        """See `Pool`."""
        done, self._done = self._done, []
        back = waiting_in(self._finished, timeout if self._away and not done else 0.0)
        self._away -= len(back)
        for finished in back:
            self._slow = _is_slow(finished)
        done += back
        self.outstanding -= len(done)
        return done

    def recall(self) -> Sequence[Run]:
        """See `Pool`."""
        given = list(self._given)
        self._given.clear()
        self._given_messages = 0
        self.outstanding -= len(given)
        return given

    def close(self) -> None:
        """See `Pool`."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def relieved_or_busy(self) -> bool:
        """Have another thread lead if the one that does has handled a run for too long.

        Returns whether it has handled any since the last call.
        """
        busy, self._was_lent = self._was_lent or bool(self._lent), False
        with suppress(IndexError):  # it may be back at any moment
            if monotonic() - self._lent[0] > PATIENCE:
                self._lent.pop()
                self._slow = True
                self._grow()  # if not, the thread that is relieved leads again when it is back
                self._away += 1
                self._tasks.put(self._lead)
        return busy

    # --- in the leading thread ---

    def _lead(self) -> None:
        """Take the steps until they end or another thread leads."""
        while self._handle_given():
            try:
                next(self._steps)
            except StopIteration:
                return

    def _handle_given(self) -> bool:
        """Have the runs handled for which there is room; whether this thread still leads."""
        while self._given and self._away < self._size:
            run = self._given.popleft()
            self._given_messages -= len(run.messages)
            if self._slow and self._grow():
                self._away += 1
                self._tasks.put(run)
            elif not self._handle(run):
                return False
        return True

    def _handle(self, run: Run) -> bool:
        self._was_lent = True
        self._lent.append(monotonic())
        if self._watch.asleep:
            self._watch.wake()
        finished = self._executed(run)
        try:
            self._lent.pop()
        except IndexError:
            self._finished.put(finished)
            return False
        self._slow = _is_slow(finished)
        self._done.append(finished)
        return True

    def _grow(self) -> bool:
        """Have a thread for one task more: one leads, and one has each run that is away."""
        if self._threads > self._away + 1:
            return True
        try:
            self._start_thread()
        except RuntimeError as error:  # too many threads or too little memory
            if not self._starved:
                log.warning("%s: handlers wait for each other: %s", self._name, error)
            self._starved = True
            return False
        self._starved = False
        return True

    def _start_thread(self) -> None:
        name = f"{self._name}-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._threads += 1

    # --- in every thread ---

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if isinstance(task, Run):
                self._finished.put(self._executed(task))
            else:
                task()

    def _executed(self, run: Run) -> Finished:
        begun = monotonic()
        try:
            outcomes = self._execute(run)
        except BaseException as error:  # noqa: BLE001 - the runner must learn of any defect
            return Finished(run, (), error)
        return Finished(run, outcomes, seconds=monotonic() - begun)


def _is_slow(finished: Finished) -> bool:
    return finished.seconds > SLOW * len(finished.outcomes)
