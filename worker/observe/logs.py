"""The log on standard error: text on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal

import orjson

from worker.flow.headers import place_of
from worker.flow.redaction import NOTHING_KNOWN, Redaction
from worker.observe import strays
from worker.observe.text import CONTROL, escaped
from worker.observe.tracing import UNFOLLOWED
from worker.ports import AT_HAND
from worker.types import Message

Format = Literal["text", "json", "auto"]

FIELDS: Final = ("pipeline", "topic", "partition", "offset", "trace_id", "span_id")
"""What a line says beside its text: what `extra` names, else what is at hand where it is logged."""


def configure(
    level: str,
    format: Format,  # noqa: A002 - the word of the option
    process: int | None = None,
    secrets: Collection[str] = (),
) -> None:
    """Send the log of the process to standard error; a second call replaces the first.

    So go warnings, and exceptions that nobody catches.

    `level` is a name such as INFO; `auto` is text on a terminal and JSON otherwise; `process` is
    the index that every line says where several processes write. `secrets` are never shown.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()  # `2>&-` leaves none
    text = format == "text" or (format == "auto" and terminal)
    redacted = Redaction(secrets)
    handler = _ToStandardError(redacted)
    formatter = TextFormatter if text else JsonFormatter
    handler.setFormatter(formatter(process, redacted))
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, _ToStandardError):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level.upper())
    strays.take_in()


def redaction() -> Redaction:
    """What hides secrets in the log of the process, for what is told beside it."""
    ours = (one for one in logging.getLogger().handlers if isinstance(one, _ToStandardError))
    return next((handler.redacted for handler in ours), NOTHING_KNOWN)


class TextFormatter(logging.Formatter):
    """Time, level, process, logger, text and fields in one line; a traceback follows, indented."""

    def __init__(self, process: int | None = None, redacted: Redaction = NOTHING_KNOWN) -> None:
        super().__init__()
        self._redacted = redacted
        self._process = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        milliseconds = int(record.msecs)
        head = f"{record.levelname:<7} {self._process}{record.name}: "
        line = f"{time}.{milliseconds:03d} {escaped(self._redacted(head + record.getMessage()))}"
        known = _fields(record)
        fields = [
            (name, self._redacted(str(value)))
            for name, value in known
            if name != "pipeline" or not record.getMessage().startswith(f"{value}: ")
        ]
        line += "".join(f" {name}={escaped(value)}" for name, value in fields)
        trace = self._redacted(_trace(self, record)).splitlines()
        return line + "".join(f"\n    {escaped(part)}" for part in trace)


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, logger, message, fields and the traceback as `exception`."""

    def __init__(self, process: int | None = None, redacted: Redaction = NOTHING_KNOWN) -> None:
        super().__init__()
        self._redacted = redacted
        self._process = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, object] = {
            "time": time,
            "level": record.levelname,
            **self._process,
            "logger": self._plain(record.name),
            "message": _encodable(self._redacted(record.getMessage())),
            **{name: self._plain(value) for name, value in _fields(record)},
        }
        trace = _trace(self, record)
        if trace:
            entry["exception"] = _encodable(self._redacted(trace))
        return CONTROL.sub(_json_escape, orjson.dumps(entry).decode())

    def _plain(self, value: object) -> object:
        return value if isinstance(value, int) else _encodable(self._redacted(str(value)))


class _ToStandardError(logging.Handler):
    """Asks for the stream at each line, so that a live view can put the lines above itself."""

    def __init__(self, redacted: Redaction) -> None:
        super().__init__()
        self.redacted = redacted

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - arguments that do not fit, or code of users
            line = self.format(_unfit(record, error))
        with suppress(Exception):  # nobody could be told of it
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _unfit(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    """What is said instead of a line that cannot be, without its arguments."""
    text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return logging.LogRecord(
        record.name,
        record.levelno,
        record.pathname,
        record.lineno,
        "a line of the log cannot be written: %s (%s; %s:%d)",
        (text, type(error).__name__, record.pathname, record.lineno),
        record.exc_info,
    )


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    known = {**_at_hand(), **record.__dict__}
    return ((name, known[name]) for name in FIELDS if name in known)


def _at_hand() -> dict[str, object]:
    """The pipeline that logs, the message that its handler is at, and their trace."""
    at_hand = AT_HAND.get()
    if at_hand is None:
        return _span()
    pipeline, run = at_hand
    known: dict[str, object] = {"pipeline": pipeline} if pipeline else {}
    if run is not None and len(run.found) < len(run.messages):
        known |= place_of(Message(run.messages[len(run.found)]))
    return known | _span()


def _span() -> dict[str, object]:
    """The trace and the span that are current, if they tell of anything at all."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or context.trace_id == UNFOLLOWED:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
