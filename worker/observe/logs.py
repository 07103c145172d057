"""The log on standard error: text on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Literal

import orjson

from worker.observe.text import CONTROL, escaped

Format = Literal["text", "json", "auto"]

FIELDS: Final = ("pipeline", "topic", "partition", "offset")
"""What `extra` of a log call may name beside the text."""


def configure(level: str, format: Format) -> None:  # noqa: A002 - the word of the option
    """Send the log of the process to standard error; a second call replaces the first.

    `level` is a name such as INFO; `auto` is text on a terminal and JSON otherwise.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()  # `2>&-` leaves none
    text = format == "text" or (format == "auto" and terminal)
    handler = _ToStandardError()
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, _ToStandardError):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """Time, level, logger, text and fields in one line; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        milliseconds = int(record.msecs)
        line = f"{time}.{milliseconds:03d} {record.levelname:<7} {record.name}: "
        line += escaped(record.getMessage())
        line += "".join(f" {name}={escaped(str(value))}" for name, value in _fields(record))
        trace = "".join(f"\n    {escaped(part)}" for part in _trace(self, record).splitlines())
        return line + trace


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, fields and the traceback as `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, object] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": _encodable(record.getMessage()),
            **{name: _plain(value) for name, value in _fields(record)},
        }
        trace = _trace(self, record)
        if trace:
            entry["exception"] = _encodable(trace)
        return CONTROL.sub(_json_escape, orjson.dumps(entry).decode())


class _ToStandardError(logging.Handler):
    """Asks for the stream at each line, so that a live view can put the lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    return ((name, record.__dict__[name]) for name in FIELDS if name in record.__dict__)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _plain(value: object) -> object:
    return value if isinstance(value, int) else _encodable(str(value))


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
