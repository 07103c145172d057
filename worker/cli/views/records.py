"""Records as commands show them, for people and for programs."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from worker.cli.views.values import LONGEST, moment, readable
from worker.flow.filter import json_of
from worker.kafka.written import as_json, object_of
from worker.observe.text import escaped
from worker.types import Encoded, Headers, Message

Decode = Literal["auto", "json", "text", "base64"]


def lines_of_record(message: Message, decode: Decode) -> Iterator[str]:
    """A record for people, as text that changes nothing on a terminal."""
    place = f"{message.topic}/{message.partition}/{message.offset}"
    yield escaped(f"{place}  {moment(message.timestamp)}{_key(message.key)}")
    yield from _lines(message.headers, message.value, decode)


def lines_of_sent(record: Encoded, decode: Decode) -> Iterator[str]:
    """The same of a record that is to be sent."""
    partition = "" if record.partition is None else f"/{record.partition}"
    at = "" if record.timestamp is None else f"  {moment(record.timestamp)}"
    yield escaped(f"{record.topic}{partition}{at}{_key(record.key)}")
    yield from _lines(_in_bytes(record.headers), record.value, decode)


def value_of_record(message: Message, decode: Decode) -> dict[str, Any]:
    """A record for programs; `worker produce --format json` makes the same record of it.

    But where its JSON is decoded, which may write numbers in another way.
    """
    return {**object_of(message), "value": _value(message.value, decode)}


def value_of_sent(record: Encoded, decode: Decode) -> dict[str, Any]:
    """The same of a record that is to be sent."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "timestamp": record.timestamp,
        "key": as_json(record.key),
        "value": _value(record.value, decode),
        "headers": [[name, as_json(value)] for name, value in _in_bytes(record.headers)],
    }


def _key(key: bytes | None) -> str:
    return "" if key is None else f"  key {readable(key)}"


def _lines(
    headers: Iterable[tuple[str, bytes | None]], payload: bytes | None, decode: Decode
) -> Iterator[str]:
    for name, value in headers:
        yield f"  {escaped(name)}: {escaped('null' if value is None else readable(value) or '')}"
    yield from (f"  {escaped(line)}" for line in _payload(payload, decode))


def _in_bytes(headers: Headers) -> list[tuple[str, bytes | None]]:
    return [(name, one.encode() if isinstance(one, str) else one) for name, one in headers]


def _value(payload: bytes | None, decode: Decode) -> Any:
    if payload is None or decode == "auto":
        return as_json(payload)
    if decode == "json" and _is_writable(found := json_of(payload)):
        return found
    if decode == "text":
        return payload.decode("utf-8", "replace")
    return _packed(payload) if decode == "base64" else as_json(payload)


def _is_writable(found: Any) -> bool:
    """Whether it is JSON that can be written again: read is NaN, too, and 1e999 as infinite."""
    try:
        json.dumps(found, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _packed(payload: bytes) -> dict[str, str]:
    return {"base64": b64encode(payload).decode()}


def _payload(payload: bytes | None, decode: Decode) -> list[str]:
    """The lines of a payload, as far as they are not too long; not escaped yet."""
    if payload is None:
        return ["null"]
    if decode == "base64":
        return [_packed(payload)["base64"]]
    found = json_of(payload) if decode in ("auto", "json") else None
    if not isinstance(found, (dict, list)):
        return [readable(payload) or ""]
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if len(text) <= LONGEST:
        return text.split("\n")
    more = f"... ({len(payload):,} bytes; all with --output json)"
    return [*text[:LONGEST].split("\n"), more]
