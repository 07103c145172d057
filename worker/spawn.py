"""How processes of ours are started, and how they end with whoever has started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import get_context, parent_process, resource_tracker
from typing import Final

CONTEXT: Final = get_context("spawn")
ENDS: Final = (signal.SIGTERM, signal.SIGINT)
"""By which a process is asked to end."""
SIGNALS: Final = (*ENDS, signal.SIGHUP)
"""What a terminal or an operator sends to all processes at once."""

_PR_SET_PDEATHSIG: Final = 1
_LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether the parent lives: in a fork its end of a pipe outlives it."""


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Start what a Ctrl-C for the whole terminal does not end before it is prepared for it.

    A process is born with the signal mask of its parent, and lifts it itself.
    """
    resource_tracker.ensure_running()  # which would lift it here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """Let pass what a terminal sends to everybody; programs started from here still obey it."""
    for number in SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end_with_parent() -> None:
    """End this process at once when the one that has started it ends, however it does.

    A thread sees to it and, on Linux, prctl(2), since what holds the interpreter holds the thread
    up. That looks at the *thread* that has started this process, which has to live as long.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_outlive_parent, name="parent", daemon=True).start()


def _outlive_parent() -> None:
    parent = parent_process()
    while parent is not None and os.getppid() == parent.pid:
        parent.join(_LOOK_EVERY)
    os._exit(1)
