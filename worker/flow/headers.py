"""Headers that the worker writes: numbers and short texts as UTF-8, read whoever has written them.

They stand behind the other headers of a record, so of several with one name the last counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.types import Message

TEXT_LIMIT = 512
"""Bytes that such a header holds at most, of a text its beginning."""

_NUMBER: Final = re.compile(rb"-?[0-9]{1,19}")
LINKED: Final = "stream-worker"
"""The entry of `tracestate` that names the span which the trace of a record was linked to."""

_TRACE: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
"""The header `traceparent` of the W3C's recommendation Trace Context."""
_LINKED: Final = re.compile(
    rb"(?:.*,)?[ \t]*%b=([0-9a-f]{32})-([0-9a-f]{16})[ \t]*(?:,.*)?" % LINKED.encode()
)
_END_OF_NUMBERS: Final = 2**63
"""Kafka's own numbers have 64 bits at most."""


def written(prefix: str, values: Mapping[str, object]) -> dict[str, bytes]:
    """The headers that say this, in order."""
    return {prefix + name: beginning(str(value)) for name, value in values.items()}


def number(value: bytes | None, least: int = 0) -> int | None:
    """The number that a header holds; None where it holds none from `least` to 64 bits."""
    if value is None or _NUMBER.fullmatch(value) is None:
        return None
    found = int(value)
    return found if least <= found < _END_OF_NUMBERS else None


def text(value: bytes | None) -> str:
    """The beginning of the text that a header holds, without what is no UTF-8."""
    return (value or b"")[:TEXT_LIMIT].decode("utf-8", "ignore")


def place_of(message: Message) -> dict[str, object]:
    """Where a message lies, and its trace as far as its headers tell, as fields of a log line."""
    place = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
    trace = trace_of(message)
    return place if trace is None else {**place, "trace_id": trace}


class Context(NamedTuple):
    """A span, and the trace that it belongs to, in hexadecimal digits."""

    trace: str
    span: str


def context_of(message: Message) -> Context | None:
    """The span that a message was sent in; None where it names none."""
    return _context_in(_TRACE, message, "traceparent")


def linked_of(message: Message) -> Context | None:
    """The span that the trace of a record of ours was linked to, that of its message."""
    return _context_in(_LINKED, message, "tracestate")


def _context_in(pattern: re.Pattern[bytes], message: Message, name: str) -> Context | None:
    found = pattern.fullmatch(dict(message.headers).get(name) or b"")
    return None if found is None else Context(found[1].decode(), found[2].decode())


def trace_of(message: Message) -> str | None:
    """The trace that a message belongs to, in hexadecimal digits; None where it names none."""
    context = context_of(message)
    return None if context is None else context.trace


def traces_of(message: Message) -> set[str]:
    """The same, and the trace that this one was linked to."""
    return {one.trace for one in (context_of(message), linked_of(message)) if one is not None}


def beginning(text: str) -> bytes:
    """As much of a text as a header holds."""
    return whole(encoded(text)[:TEXT_LIMIT])


def whole(data: bytes) -> bytes:
    """UTF-8 without characters that were cut at an end."""
    return data.decode("utf-8", "ignore").encode()


def encoded(text: str) -> bytes:
    """The text as UTF-8; no record of ours must fail at half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace")
