"""How a command that runs a worker ends: by signals, and with the worker's exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn, Protocol

from worker.cli.exit_codes import FORCED

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PATIENCE: Final = 5.0
"""Seconds for what handlers have left behind to end."""


class Stoppable(Protocol):
    """What signals stop: a worker, or the supervisor of several processes."""

    def stop(self) -> None: ...


@contextmanager
def stopped_by_signals(worker: Stoppable) -> Iterator[None]:
    """SIGTERM and SIGINT drain the worker; a second one forces it to end."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hangups_survived(worker: Stoppable) -> Iterator[None]:
    """SIGHUP drains a worker whose terminal was closed, and tells any other that it does nothing.

    By default it would end the process at once. One that is ignored, as under nohup, stays so.
    """
    at_terminal = sys.stdin is not None and sys.stdin.isatty()

    def hung_up(_number: int, _frame: FrameType | None) -> None:
        if at_terminal:
            worker.stop()
        else:
            log.warning("SIGHUP changes nothing: a changed spec takes a restart")

    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hung_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def leave(code: int) -> NoReturn:
    """End the process; when forced at once, else when threads and processes left behind have ended.

    Python waits for these without end, so after `PATIENCE` seconds nobody waits any more.
    """
    if code == FORCED:
        _cut(code)
    hurry = threading.Timer(PATIENCE, _give_up, [code])
    hurry.daemon = True
    hurry.start()
    sys.exit(code)


def _give_up(code: int) -> NoReturn:
    log.warning("what handlers have left behind has not ended within %.0f s", PATIENCE)
    _cut(code)


def _cut(code: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # `>&-` leaves none
            stream.flush()
    os._exit(code)
