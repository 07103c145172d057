"""The client's own log lines through Python logging, repeated ones summed up."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger("worker.kafka.client")

LINES: Final = 3
"""Lines of one kind, which differ in numbers only, that are logged in one interval."""
INTERVAL: Final = 30.0
"""Seconds after which a kind is logged again, with the count of what was held back."""
KINDS: Final = 1_000
"""Kinds that are remembered."""

_NUMBERS: Final = re.compile(r"\d+")


@dataclass(slots=True)
class _Kind:
    since: float
    lines: int = 0


class RateLimit(logging.Filter):
    """Lets `lines` of a kind pass per `interval` seconds; the next one has the others' count."""

    def __init__(
        self,
        lines: int = LINES,
        interval: float = INTERVAL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._lines = lines
        self._interval = interval
        self._monotonic = monotonic
        self._kinds: dict[str, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged; what was held back before is added to its text."""
        text = record.getMessage()
        name = _NUMBERS.sub("#", text)
        now = self._monotonic()
        kind = self._kinds.get(name)
        if kind is None or now - kind.since >= self._interval:
            self._sum_up(record, text, kind, now)
            kind = self._remember(name, now)
        kind.lines += 1
        return kind.lines <= self._lines

    def _sum_up(self, record: logging.LogRecord, text: str, kind: _Kind | None, now: float) -> None:
        held_back = kind.lines - self._lines if kind is not None else 0
        if kind is not None and held_back > 0:
            record.msg = f"{text} ({held_back} more like this in {now - kind.since:.0f} s)"
            record.args = ()

    def _remember(self, name: str, now: float) -> _Kind:
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        kind = self._kinds[name] = _Kind(now)
        return kind


def client_logger(name: str) -> logging.Logger:
    """The logger for the lines of one kind of client: consumer, producer or admin."""
    logger = log.getChild(name)
    if not logger.filters:
        logger.addFilter(RateLimit())
    return logger


class ClientLog:
    """What a client is given as its logger: a line that cannot be logged is lost, and no more."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def log(self, level: int, message: str, *args: object) -> None:
        """Log a line of the client."""
        try:
            self._logger.log(level, message, *args)
        except BaseException:  # noqa: BLE001 - nothing may leave a callback
            return
