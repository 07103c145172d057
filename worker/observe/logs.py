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


def configure(
    level: str,
    format: Format,  # noqa: A002 - the word of the option
    process: int | None = None,
) -> None:
    """Send the log of the process to standard error; a second call replaces the first.

    `level` is a name such as INFO; `auto` is text on a terminal and JSON otherwise; `process` is
    the index that every line says where several processes write.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()  # `2>&-` leaves none
    text = format == "text" or (format == "auto" and terminal)
    handler = _ToStandardError()
    handler.setFormatter(TextFormatter(process) if text else JsonFormatter(process))
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, _ToStandardError):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """Time, level, process, logger, text and fields in one line; a traceback follows, indented."""

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        milliseconds = int(record.msecs)
        line = f"{time}.{milliseconds:03d} {record.levelname:<7} {self._process}{record.name}: "
        line += escaped(record.getMessage())
        line += "".join(f" {name}={escaped(str(value))}" for name, value in _fields(record))
        trace = "".join(f"\n    {escaped(part)}" for part in _trace(self, record).splitlines())
        return line + trace


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, fields and the traceback as `exception`."""

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, object] = {
            "time": time,
            "level": record.levelname,
            **self._process,
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
