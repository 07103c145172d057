"""Where handlers run: what a pipeline asks of them, and one asyncio loop for async functions."""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from importlib.util import find_spec
from time import monotonic
from typing import Any, Final, Protocol, TypeVar

from worker.engine.partition import Finished, Run
from worker.types import Outcome

log = logging.getLogger(__name__)


class Pool(Protocol):
    """Takes runs and gives them back finished; only the steps that it leads may use it."""

    def start(self, steps: Iterator[None]) -> None:
        """Take the steps of a pipeline to their end, one after the other, beside the caller."""

    @property
    def outstanding(self) -> int:
        """Runs that have not been collected yet."""

    @property
    def in_process(self) -> bool:
        """Whether what ends a handler's process ends the worker."""

    @property
    def saturated(self) -> bool:
        """Whether a further run would wait for a handler."""

    @property
    def appetite(self) -> int:
        """Messages that a run should hold at most, as handlers are at present."""

    @property
    def hindrance(self) -> str | None:
        """Why no message can be handled at the moment; None while they can."""

    def submit(self, run: Run) -> None:
        """Hand a run over."""

    def collect(self, timeout: float) -> list[Finished]:
        """Wait up to `timeout` seconds for a run to finish, then take all that have."""

    def recall(self) -> Sequence[Run]:
        """Take back the runs that no handler has begun with; they are not outstanding any more."""

    def close(self) -> None:
        """Take no more runs; does not wait for handlers that hang, but for tear-downs of its own.

        Told once, when the steps are over.
        """


BEAT: Final = 1.0
"""Seconds between two signs of life of the asyncio loop."""
ANY_NUMBER: Final = sys.maxsize
"""The appetite of who does not mind."""

T = TypeVar("T")


def waiting_in(waiting: queue.SimpleQueue[T], timeout: float) -> list[T]:
    """What a queue holds, after waiting up to `timeout` seconds for the first."""
    found: list[T] = []
    try:
        if timeout:
            found.append(waiting.get(timeout=timeout))
        while True:
            found.append(waiting.get_nowait())
    except queue.Empty:
        return found


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop: that of uvloop where it is installed."""
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - optional extra

    return uvloop.new_event_loop()


class LoopThread:
    """The process's asyncio loop, in a thread of its own: async handlers and resources share it."""

    def __init__(
        self,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._loop = new_loop()
        self._clock = clock
        self._beaten: float | None = None
        """When the loop was last seen to turn, once it runs."""
        self._thread = threading.Thread(target=self._run, name="asyncio", daemon=True)
        self._started = False
        self._closing = False

    @property
    def dead(self) -> bool:
        """Whether it has ended although nobody has closed it."""
        return self._started and not self._closing and not self._thread.is_alive()

    @property
    def blocked_for(self) -> float:
        """Seconds for which the loop has not turned, since what it calls keeps it."""
        if self._beaten is None or self._closing:
            return 0.0
        return max(0.0, self._clock() - self._beaten - BEAT)

    def start(self) -> None:
        """Run the loop unless it runs already; not for two threads at a time."""
        if not self._started:
            self._started = True
            self._loop.call_soon(self._beat)
            self._thread.start()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | Any:
        """Run a coroutine on the loop; returns a `concurrent.futures.Future`."""
        self.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the loop call a function."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Cancel what still runs and end the loop; waits for a second at most."""
        self._closing = True
        if self._started:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1)
        if not self._thread.is_alive():
            self._loop.close()

    def _beat(self) -> None:
        self._beaten = self._clock()
        self._loop.call_later(BEAT, self._beat)

    def _run(self) -> None:
        """Run the loop for good: SystemExit and KeyboardInterrupt in a task leave it as well."""
        while not self._closing and not self._loop.is_closed():
            try:
                self._loop.run_forever()
            except BaseException:
                log.exception("a task raised what ends processes; the other tasks go on")


class AsyncPool:
    """Runs as tasks on the process's loop, at most `size` at a time."""

    in_process: Final = True
    appetite: Final = ANY_NUMBER
    hindrance: Final = None

    def __init__(
        self,
        name: str,
        loop: LoopThread,
        execute: Callable[[Run], Coroutine[Any, Any, list[Outcome]]],
        size: int,
    ) -> None:
        self.outstanding = 0
        loop.start()
        self._name = name
        self._loop = loop
        self._execute = execute
        self._size = size
        self._given: list[Run] = []
        """Runs of this step: they go to the loop together, since each call wakes it."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """By the identity of their runs: the loop itself keeps tasks only weakly."""
        self._done: list[Finished] = []
        """What this round of the loop has finished: it goes back together, for the same reason."""
        self._finished: queue.SimpleQueue[list[Finished]] = queue.SimpleQueue()

    def start(self, steps: Iterator[None]) -> None:
        """See `Pool`."""
        threading.Thread(target=self._lead, args=(steps,), name=self._name, daemon=True).start()

    @property
    def saturated(self) -> bool:
        """See `Pool`."""
        return self.outstanding >= self._size

    def submit(self, run: Run) -> None:
        """See `Pool`; the run begins when the step is over."""
        self.outstanding += 1
        self._given.append(run)

    def collect(self, timeout: float) -> list[Finished]:
        """See `Pool`."""
        batches = waiting_in(self._finished, timeout if self.outstanding else 0.0)
        found = [finished for batch in batches for finished in batch]
        self.outstanding -= len(found)
        return found

    def recall(self) -> Sequence[Run]:
        """See `Pool`; every run begins as soon as its step is over."""
        return ()

    def close(self) -> None:
        """Nothing to do: the loop belongs to the process."""

    def _lead(self, steps: Iterator[None]) -> None:
        for _ in steps:
            if self._given:
                given, self._given = self._given, []
                self._loop.call(self._begin, given)

    # --- on the loop ---

    def _begin(self, runs: list[Run]) -> None:
        create_task = asyncio.get_running_loop().create_task
        for run in runs:
            self._tasks[id(run)] = create_task(self._work(run))

    async def _work(self, run: Run) -> None:
        begun = monotonic()
        try:
            outcomes = await self._execute(run)
            self._put(Finished(run, outcomes, seconds=monotonic() - begun))
        except BaseException as error:  # noqa: BLE001 - the runner must learn of any defect
            self._put(Finished(run, (), error))

    def _put(self, finished: Finished) -> None:
        del self._tasks[id(finished.run)]
        if not self._done:
            asyncio.get_running_loop().call_soon(self._give_back)
        self._done.append(finished)

    def _give_back(self) -> None:
        done, self._done = self._done, []
        self._finished.put(done)
