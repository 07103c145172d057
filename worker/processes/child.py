"""A process as its supervisor holds it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

from worker.flow.health import Snapshot
from worker.processes.words import Order
from worker.spawn import CONTEXT, signals_held_back

LOOK_EVERY: Final = 0.5
"""Seconds between two looks whether the process has ended, while it tells nothing."""
LAST_WORDS: Final = 2.0
"""Seconds to take what a process that has ended left in the connection."""

Target = Callable[[int, Connection], None]
"""The body of a process, which is given its index and its end of the connection; it is pickled."""


class Child:
    """A started process; its snapshots are read in a thread, since one may get stuck half-way.

    Raises `OSError` where no process can be started.
    """

    def __init__(self, index: int, target: Target) -> None:
        self._connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=target, args=(index, theirs), name=f"worker-{index}")
        try:
            with signals_held_back():
                self._process.start()
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()
        self.latest: Snapshot | None = None
        """What it last told of itself."""
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"process-{index}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int | None:
        """The number by which the system knows it."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How it ended, negative by a signal; None while it runs."""
        return self._process.exitcode

    def tell(self, order: Order) -> None:
        """Order a drain, or an end at once."""
        with contextlib.suppress(OSError):
            self._connection.send(order)

    def kill(self) -> None:
        """End it by force and wait for that."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Take the last of what an ended process has told, and let go of it."""
        self._over.set()
        self._reader.join(LAST_WORDS)
        self._connection.close()
        self._process.close()

    def _read(self) -> None:
        """Read until the process has ended: its end of the connection may outlive it in a fork."""
        with contextlib.suppress(EOFError, OSError):
            while self._connection.poll(LOOK_EVERY) or not self._over.is_set():
                if self._connection.poll():
                    self.latest = self._connection.recv()
