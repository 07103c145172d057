"""Log lines that come again and again, summed up."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

LINES: Final = 1
"""Lines of one kind, which differ in numbers only, that are logged in one interval."""
INTERVAL: Final = 30.0
"""Seconds over which what is held back of a kind is summed up."""
KINDS: Final = 1_000
"""Kinds that are remembered; while each of them waits for its sum, further ones are one kind."""

_OTHERS: Final = "others"
_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\d+")

Later = Callable[[float, Callable[[], None]], object]
"""Has a function called after so many seconds."""


def later(seconds: float, function: Callable[[], None]) -> None:
    """Call a function in a thread of its own, unless the process has ended before."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


@dataclass(slots=True)
class _Kind:
    since: float
    lines: int = 0
    last: logging.LogRecord | None = None
    """The last line that was held back."""


class RateLimit(logging.Filter):
    """Lets `lines` of a kind pass, and after `interval` seconds says how many more there were.

    That is the last of them, with the count: so an error that goes on is logged once in an
    interval, and one that is over is still counted to its end.
    """

    def __init__(
        self,
        lines: int = LINES,
        interval: float = INTERVAL,
        monotonic: Callable[[], float] = time.monotonic,
        later: Later = later,
    ) -> None:
        super().__init__()
        self._lines = lines
        self._interval = interval
        self._monotonic = monotonic
        self._later = later
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()
        """Many threads log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged at once."""
        name = _NUMBERS.sub("#", record.getMessage())
        now = self._monotonic()
        with self._lock:
            name = name if self._has_room_for(name) else _OTHERS
            kind = self._kinds.get(name)
            if kind is None or (kind.last is None and now - kind.since >= self._interval):
                kind = self._remember(name, now)
            kind.lines += 1
            if kind.lines <= self._lines:
                return True
            if kind.last is None:
                self._later(self._interval - (now - kind.since), partial(self._sum_up, name))
            kind.last = record
        return False

    def _sum_up(self, name: str) -> None:
        """Log what was held back of a kind; what comes from now on belongs to the next sum."""
        now = self._monotonic()
        with self._lock:
            kind = self._kinds.get(name)
            if kind is None or kind.last is None:
                return
            last, held_back, seconds = kind.last, kind.lines - self._lines, now - kind.since
            self._kinds[name] = _Kind(now, self._lines)
        text = f"{last.getMessage()} ({held_back} like this in {seconds:.0f} s)"
        sum_of = logging.LogRecord(
            last.name, last.levelno, last.pathname, last.lineno, text, (), last.exc_info
        )
        logging.getLogger(last.name).callHandlers(sum_of)

    def _has_room_for(self, name: str) -> bool:
        if name not in self._kinds and len(self._kinds) >= KINDS:
            kinds = self._kinds.items()
            self._kinds = {
                one: kind for one, kind in kinds if kind.last is not None or one == _OTHERS
            }
        return name in self._kinds or len(self._kinds) < KINDS

    def _remember(self, name: str, now: float) -> _Kind:
        kind = self._kinds[name] = _Kind(now)
        return kind


def limited(name: str) -> logging.Logger:
    """The logger of this name, whose own lines are summed up from now on."""
    logger = logging.getLogger(name)
    if not any(isinstance(one, RateLimit) for one in logger.filters):
        logger.addFilter(RateLimit())
    return logger
