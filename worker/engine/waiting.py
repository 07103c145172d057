"""How the main thread waits, so that signals interrupt it."""

from __future__ import annotations

import queue
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
