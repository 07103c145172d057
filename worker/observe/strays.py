"""What Python would write to standard error by itself, sent to the log."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from traceback import format_tb
from types import TracebackType
from typing import TextIO

log = logging.getLogger(__name__)


def take_in() -> None:
    """Have warnings, and exceptions that nobody catches, logged from now on."""
    warnings.showwarning = _warned
    sys.excepthook = _ended
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_ended


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - as Python calls it
    line: str | None = None,  # noqa: ARG001
) -> None:
    log.warning("%s (%s:%d)", category.__name__, filename, lineno)
    log.debug("%s: %s", category.__name__, message)


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None, /) -> None:
    log.critical("nobody has caught %s", kind.__name__, exc_info=(kind, error, trace))


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    name = "" if args.thread is None else args.thread.name
    _without_text(f"the thread {name!r} has ended", args.exc_value, args.exc_traceback)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    where = getattr(args.object, "__qualname__", type(args.object).__name__)
    _without_text(f"{where} has failed", args.exc_value, args.exc_traceback)


def _without_text(what: str, error: BaseException | None, trace: TracebackType | None) -> None:
    """Log the class and the frames; the text, which may hold payload, for those who debug."""
    stack = "".join(format_tb(trace)).rstrip()
    kind = type(error).__name__
    line = logging.LogRecord(
        log.name, logging.ERROR, __file__, 0, "%s: %s", (what, kind), None, sinfo=stack or None
    )
    log.handle(line)
    log.debug("%s: %s", what, kind, exc_info=error)
