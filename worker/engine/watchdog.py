"""A process in which Python stands still for good ends, since nobody in it can say so."""

from __future__ import annotations

import faulthandler
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FROZEN_AFTER: Final = 60.0
"""Seconds in which no other thread has come to run Python after which the process ends."""
WOUND_AGAIN: Final = 12
"""How often the watch is wound in that time."""
STDERR: Final = 2


@contextmanager
def ended_when_frozen(after: float = FROZEN_AFTER) -> Iterator[None]:
    """End the process with exit code 1 when Python stands still in it, and tell what it was at.

    confluent-kafka keeps Python's global lock while it asks a consumer's main thread for its
    assignment, its member id, or to take partitions in. librdkafka knows cases in which that thread
    and one of a broker wait for each other (https://github.com/confluentinc/librdkafka/issues/5476,
    open in librdkafka 2.16), and then every thread of Python waits as well: nothing is handled or
    answered, but heartbeats go on, so that the group leaves the partitions where they are until
    `max.poll.interval.ms` is over. The watch itself is a thread without Python (`faulthandler`).
    Debuggers may stop all threads.
    """
    if _is_debugged():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_wind, args=(over, after), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        faulthandler.cancel_dump_traceback_later()


def _wind(over: threading.Event, after: float) -> None:
    while True:
        faulthandler.dump_traceback_later(after, exit=True, file=STDERR)
        if over.wait(after / WOUND_AGAIN):
            return


def _is_debugged() -> bool:
    """Whether a debugger is there, or else something that traces."""
    monitoring = getattr(sys, "monitoring", None)  # Python 3.12, PEP 669
    debugger = None if monitoring is None else monitoring.get_tool(monitoring.DEBUGGER_ID)
    return debugger is not None or sys.gettrace() is not None
