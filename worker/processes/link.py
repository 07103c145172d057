"""A process' own side of the connection to its supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Final, Protocol

from worker.flow.health import Snapshot
from worker.flow.supervision import DRAINED, FORCED
from worker.processes.words import CLOSE_MARGIN, Order
from worker.spawn import ENDS, SIGNALS

log = logging.getLogger(__name__)

REPORT_EVERY: Final = 0.25
"""Seconds between two snapshots, which is as often as pipelines publish their states."""


class Governed(Protocol):
    """What a supervisor governs: `engine.worker.Worker` is one."""

    def stop(self) -> None: ...
    def snapshot(self) -> Snapshot: ...


class Link:
    """Tells the supervisor how the worker is, and the worker what the supervisor orders.

    A supervisor that is gone counts as an order to drain, with the deadline that it would have set,
    so no process outlives it for long, and nothing is handled twice because of it.
    """

    def __init__(self, connection: Connection, drain_timeout: float) -> None:
        self._connection = connection
        self._patience = drain_timeout + CLOSE_MARGIN
        self._worker: Governed | None = None
        self._drains = [True]
        """Holds one item as long as no drain was asked for; taking it out is atomic."""
        self._reporting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def take_signals(self) -> None:
        """Drain at SIGTERM and SIGINT, however many come: a terminal or systemd tells everybody.

        Only the supervisor, who counts them, forces, and says what becomes of a SIGHUP.
        """
        for number in SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        for number in ENDS:
            signal.signal(number, lambda _number, _frame: self.drain())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def attach(self, worker: Governed) -> None:
        """Govern this worker from now on."""
        self._worker = worker

    def drain(self) -> None:
        """Stop the worker, once; without a worker yet, end the process."""
        if self._worker is None:
            os._exit(DRAINED)
        with contextlib.suppress(IndexError):
            self._drains.pop()
            self._worker.stop()

    def report(self) -> None:
        """Tell the supervisor the worker's state as of now, if it is still there."""
        if self._worker is not None:
            with self._reporting, contextlib.suppress(OSError):
                self._connection.send(self._worker.snapshot())

    def _run(self) -> None:
        try:
            while True:
                if self._connection.poll(REPORT_EVERY):
                    self._obey(self._connection.recv())
                self.report()
        except (EOFError, OSError):
            self._survive()

    def _obey(self, order: Order) -> None:
        self.drain()
        if order == "force" and self._worker is not None:
            self._worker.stop()

    def _survive(self) -> None:
        """Give the worker its time to drain after the supervisor has gone."""
        log.error("the supervisor is gone: draining")
        self.drain()
        threading.Event().wait(self._patience)
        os._exit(FORCED)
