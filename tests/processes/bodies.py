"""Bodies of processes for the tests of the supervisor; run by spawned processes, not by pytest."""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from worker.flow.health import Counts, PipelineState, Snapshot
from worker.processes.link import Link

LONGEST = 60.0
"""Seconds after which nothing more is waited for, so that nothing outlives a test that failed."""
RUNNING = PipelineState("pipeline", "g", "running", joined=True, connected=True)
FAILED = PipelineState("pipeline", "g", "failed", failed="a poison pill")


class Worker:
    """A worker as a link sees it, which ends with 0 when it is stopped and with 4 at the second."""

    def __init__(self, state: PipelineState = RUNNING, stops: int = 1) -> None:
        self._state = state
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stops = stops

    def stop(self) -> None:
        self._asked.put(None)

    @property
    def asked(self) -> int:
        """How many stops have not been taken notice of."""
        return self._asked.qsize()

    def snapshot(self) -> Snapshot:
        now = time.monotonic()
        return Snapshot("n", "v", 0.0, now, pipelines=(replace(self._state, stepped=now),))

    def run(self) -> int:
        for _ in range(self._stops):
            self._asked.get(timeout=LONGEST)
        return 0 if self._stops == 1 else 4


def link(connection: Connection, worker: Worker, drain_timeout: float = 60.0) -> Link:
    made = Link(connection, drain_timeout)
    made.attach(worker)
    made.take_signals()
    return made


def run(_index: int, connection: Connection) -> None:
    """Run until told to drain."""
    worker = Worker()
    link(connection, worker)
    sys.exit(worker.run())


def count(index: int, connection: Connection) -> None:
    """Have counted something, and run until told to drain."""
    state = PipelineState(
        "pipeline", "g", "running", joined=True, connected=True, counts=Counts(received=10 + index)
    )
    worker = Worker(state)
    link(connection, worker)
    sys.exit(worker.run())


def begin(_index: int, connection: Connection) -> None:
    """Get no further than to import what a worker is made of."""
    Link(connection, LONGEST).take_signals()
    Worker().run()


def hang(_index: int, connection: Connection) -> None:
    """Take no notice of a drain, but of the order to end at once."""
    worker = Worker(stops=2)
    link(connection, worker)
    sys.exit(worker.run())


def ignore(_index: int, connection: Connection) -> None:
    """Take no notice of anything."""
    worker = Worker(stops=9)
    link(connection, worker)
    sys.exit(worker.run())


def fail(index: int, connection: Connection) -> None:
    """Stop for good in the first process, and run in the others."""
    worker = Worker(FAILED if index == 0 else RUNNING)
    up = link(connection, worker)
    if index == 0:
        up.report()
        sys.exit(1)
    sys.exit(worker.run())


def all_fail(_index: int, connection: Connection) -> None:
    """Stop for good."""
    link(connection, Worker(FAILED)).report()
    sys.exit(1)


def end(code: int, folder: Path, index: int, connection: Connection) -> None:
    """End at once with a code, and leave a sign that one was started."""
    (folder / f"{index}.{os.getpid()}").touch()
    connection.close()
    sys.exit(code)


def crash_once(folder: Path, index: int, connection: Connection) -> None:
    """Be killed at the first start, and run at the second."""
    sign = folder / f"{index}"
    if not sign.exists():
        sign.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    run(index, connection)


def fork_and_crash_once(folder: Path, index: int, connection: Connection) -> None:
    """Be killed at the first start, and leave a fork that holds the connection; then run."""
    sign = folder / f"{index}"
    if not sign.exists():
        sign.touch()
        if os.fork() == 0:
            with suppress(EOFError):
                connection.recv()
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    run(index, connection)
