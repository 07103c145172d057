"""Callbacks out of which nothing leaves, and the client's log lines.

An exception that leaves a callback of the client destroys the messages of the poll it ran in.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable
from typing import Any, ParamSpec

Arguments = ParamSpec("Arguments")

log = logging.getLogger("worker.kafka.client")

REPEAT_EVERY = 30.0
"""Seconds in which lines that differ in numbers only are logged once, then with their count."""

_NUMBERS = re.compile(r"\d+")


class Kept:
    """Exceptions of callbacks, kept until the thread that polls can raise them."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def guard(self, callback: Callable[Arguments, Any]) -> Callable[Arguments, None]:
        """The callback with its exceptions kept instead of raised."""

        @functools.wraps(callback)
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - nothing may leave a callback
                self._error = self._error or error

        return guarded

    def release(self) -> None:
        """Raise what was kept, once."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error


class QuietFilter(logging.Filter):
    """Lets a line pass once in a while and counts its repetitions meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged; the count is added to its text."""
        text = record.getMessage()
        kind = _NUMBERS.sub("#", text)[:120]
        now = time.monotonic()
        since, repeated = self._seen.get(kind, (-REPEAT_EVERY, 0))
        if now - since < REPEAT_EVERY:
            self._seen[kind] = (since, repeated + 1)
            return False
        if len(self._seen) > 1_000:
            self._seen.clear()
        self._seen[kind] = (now, 0)
        if repeated:
            record.msg, record.args = f"{text} ({repeated} more in {now - since:.0f} s)", ()
        return True


def client_logger(name: str) -> logging.Logger:
    """The logger that a client's own lines go to, repeated lines summed up."""
    logger = log.getChild(name)
    if not logger.filters:
        logger.addFilter(QuietFilter())
    return logger
