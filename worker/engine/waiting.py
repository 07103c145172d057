"""How the main thread waits: signals interrupt it, and it can give up on what hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress


class Latch:
    """Set once, from any thread and from signal handlers; one thread waits.

    `threading.Event` is not for signal handlers: `set` waits for ever for a lock that the very
    thread may hold which the signal has interrupted in `wait`.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Set it, for good."""
        self._is_set = True
        self._woken.put(None)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until it is set; whether it is."""
        if not self._is_set:
            with suppress(queue.Empty):
                self._woken.get(timeout=timeout)
        return self._is_set


class Aside:
    """A thread that does one thing after the other, so that whoever waits can give up on it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = False
        self._tasks: queue.SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = (
            queue.SimpleQueue()
        )

    def start(self, task: Callable[[], None]) -> Future[None]:
        """Have the thread do this next."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        done: Future[None] = Future()
        self._tasks.put((task, done))
        return done

    def close(self) -> None:
        """Let the thread end after what it does."""
        self._tasks.put(None)

    def _work(self) -> None:
        while (waiting := self._tasks.get()) is not None:
            task, done = waiting
            try:
                task()
            except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
                done.set_exception(error)
            else:
                done.set_result(None)
