"""Where handlers run: threads for functions, one asyncio loop for async functions."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from worker.engine.partition import Finished, Run
from worker.types import Outcome

log = logging.getLogger(__name__)


class Pool(Protocol):
    """Takes runs and gives them back finished; `submit` and `collect` belong to one thread."""

    @property
    def outstanding(self) -> int:
        """Runs that have not been collected yet."""

    @property
    def saturated(self) -> bool:
        """Whether a further run would wait for a handler."""

    def submit(self, run: Run) -> None:
        """Hand a run over."""

    def collect(self, timeout: float) -> list[Finished]:
        """Wait up to `timeout` seconds for a run to finish, then take all that have."""

    def close(self) -> None:
        """Take no more runs; does not wait for handlers that hang."""


class _Results:
    """The way back from handlers to the runner; `size` runs are handled at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self.outstanding = 0

    @property
    def saturated(self) -> bool:
        return self.outstanding >= self._size

    def put(self, finished: Finished) -> None:
        self._finished.put(finished)

    def collect(self, timeout: float) -> list[Finished]:
        if not self.outstanding:
            return []
        finished = []
        try:
            finished.append(self._finished.get(timeout=timeout) if timeout else self._take())
            while True:
                finished.append(self._take())
        except queue.Empty:
            self.outstanding -= len(finished)
            return finished

    def _take(self) -> Finished:
        return self._finished.get_nowait()


class ThreadPool(_Results):
    """Up to `size` threads, made when they are first needed."""

    def __init__(self, name: str, execute: Callable[[Run], list[Outcome]], size: int) -> None:
        super().__init__(size)
        self._name = name
        self._execute = execute
        self._threads: list[threading.Thread] = []
        self._runs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()

    def submit(self, run: Run) -> None:
        self.outstanding += 1
        if len(self._threads) < min(self.outstanding, self._size):
            self._start()
        self._runs.put(run)

    def close(self) -> None:
        for _ in self._threads:
            self._runs.put(None)

    def _start(self) -> None:
        name = f"{self._name}-handler-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            try:
                self.put(Finished(run, self._execute(run)))
            except BaseException as error:  # noqa: BLE001 - the runner must learn of any defect
                self.put(Finished(run, (), error))


class LoopThread:
    """The process's asyncio loop, in a thread of its own: async handlers and resources share it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="asyncio", daemon=True)
        self._started = False
        self._closing = False

    @property
    def dead(self) -> bool:
        """Whether it has ended although nobody has closed it."""
        return self._started and not self._closing and not self._thread.is_alive()

    def start(self) -> None:
        """Run the loop unless it runs already; not for two threads at a time."""
        if not self._started:
            self._started = True
            self._thread.start()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | Any:
        """Run a coroutine on the loop; returns a `concurrent.futures.Future`."""
        self.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        """Cancel what still runs and end the loop; waits for a second at most."""
        self._closing = True
        if self._started:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=1)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self) -> None:
        """Run the loop for good: SystemExit and KeyboardInterrupt in a task leave it as well."""
        while not self._closing and not self._loop.is_closed():
            try:
                self._loop.run_forever()
            except BaseException:
                log.exception("a task raised what ends processes; the other tasks go on")


class AsyncPool(_Results):
    """Runs as tasks on the process's loop, at most `size` at a time."""

    def __init__(
        self,
        loop: LoopThread,
        execute: Callable[[Run], Coroutine[Any, Any, list[Outcome]]],
        size: int,
    ) -> None:
        super().__init__(size)
        loop.start()
        self._loop = loop
        self._execute = execute
        self._slots = asyncio.Semaphore(size)

    def submit(self, run: Run) -> None:
        self.outstanding += 1
        self._loop.spawn(self._work(run))

    def close(self) -> None:
        """Nothing to do: the loop belongs to the process."""

    async def _work(self, run: Run) -> None:
        try:
            async with self._slots:
                outcomes = await self._execute(run)
            self.put(Finished(run, outcomes))
        except BaseException as error:  # noqa: BLE001 - the runner must learn of any defect
            self.put(Finished(run, (), error))
