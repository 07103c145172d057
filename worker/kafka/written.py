"""Records as people and programs write them: a line each."""

from __future__ import annotations

import difflib
import json
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from math import isinf
from typing import Any, Final

import orjson

from worker.errors import InvalidPartition
from worker.kafka import arguments
from worker.types import Encoded, Headers, Message

KEYS: Final = ("value", "key", "headers", "partition", "timestamp")
PLACE: Final = ("topic", "offset")
"""What is said besides of a record that was read: where it was, together with its partition."""

_BYTES: Final = 'a text, null or {"base64": "..."}'
_HEADERS: Final = "an object of names and values, or a list of [name, value]"
_TIME: Final = "milliseconds since 1970, or a time after that with its zone: 2026-01-31T12:00:00Z"

Parse = Callable[[bytes], Encoded]


class BadLine(Exception):
    """A line is no record; `problems` names all that is wrong with it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def plain(topic: str, separator: bytes | None, field: str | None) -> Parse:
    """Each line is a value; before a separator there is the key, or a field of JSON is the key.

    Raises `BadLine` for a line without the separator.
    """

    def parse(line: bytes) -> Encoded:
        if separator is not None:
            key, found, value = line.partition(separator)
            if not found:
                raise BadLine(f"it has no {separator.decode(errors='replace')!r} behind a key")
            return Encoded(topic, value, key)
        return Encoded(topic, line, None if field is None else key_of(line, field))

    return parse


def from_json(topic: str) -> Parse:
    """Each line is a JSON object that holds a record, as `object_of` makes one.

    A value that is no text is written as JSON. Raises `BadLine` with all that is wrong in a line.
    """

    def parse(line: bytes) -> Encoded:
        fields = _Fields(_object(line))
        record = Encoded(
            topic,
            fields.value(),
            fields.key(),
            fields.take("headers", _headers) or (),
            fields.take("partition", arguments.partition),
            fields.take("timestamp", _timestamp),
        )
        fields.require_no_problems()
        return record

    return parse


def message_of(line: bytes) -> Message:
    """The message that `object_of` has made a line of; raises `BadLine`.

    What a line may lack besides its topic is 0 or nothing.
    """
    fields = _Fields(_object(line))
    found = Message.of(
        fields.value(),
        topic=fields.topic(),
        partition=fields.take("partition", arguments.partition) or 0,
        offset=fields.take("offset", _offset) or 0,
        key=fields.key(),
        headers=fields.take("headers", _pairs) or (),
        timestamp=fields.take("timestamp", _timestamp) or 0,
    )
    fields.require_no_problems()
    return found


def object_of(message: Message) -> dict[str, Any]:
    """All that a message holds and where it was, for a line of JSON."""
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp if message.timestamp > 0 else None,
        "key": as_json(message.key),
        "value": as_json(message.value),
        "headers": [[name, as_json(value)] for name, value in message.headers],
    }


def as_json(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes as JSON has them: text, and what is no UTF-8 in base 64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def key_of(line: bytes, field: str) -> bytes | None:
    """The field as text; None when the line is no JSON object or lacks the field."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    value = found.get(field) if isinstance(found, dict) else None
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(
            line,
            object_pairs_hook=_without_repeats,
            parse_constant=_refuse,
            parse_float=_finite,
        )
    except BadLine:
        raise
    except RecursionError:
        raise BadLine("its JSON is nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadLine(f"it is {_kind(found)}; legal is an object with {', '.join(KEYS)}")
    return found


class _Fields:
    """What an object holds, with all that is wrong with it."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self._problems = list(_unknown(found))

    def take(self, name: str, make: Callable[[Any], Any]) -> Any:
        """What is made of a field; None where it is null, not there, or wrong."""
        try:
            return make(self._found[name]) if self._found.get(name) is not None else None
        except (ValueError, TypeError, InvalidPartition) as error:
            self._problems.append(str(error))
            return None

    def topic(self) -> str:
        """The topic, which has to be there."""
        if self._found.get("topic") is None:
            self._problems.append("topic: it is missing; a captured record says where it was")
        return self.take("topic", arguments.topic) or ""

    def value(self) -> bytes | None:
        """The payload, which has to be there; what is no text is written as JSON."""
        if "value" not in self._found:
            why = "null is a record without one, a tombstone"
            self._problems.append(f"value: it is missing; {why}")
        found: bytes | None = self.take("value", partial(_bytes, "value", else_json=True))
        return found

    def key(self) -> bytes | None:
        """The key."""
        found: bytes | None = self.take("key", partial(_bytes, "key"))
        return found

    def require_no_problems(self) -> None:
        """Raise `BadLine` if anything was wrong."""
        if self._problems:
            raise BadLine(*self._problems)


def _unknown(found: dict[str, Any]) -> Iterator[str]:
    for name in found:
        if name not in (*KEYS, *PLACE):
            near = difflib.get_close_matches(name, KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"legal are {', '.join(KEYS)}"
            yield f"{name}: no such key; {hint}"


def _bytes(what: str, value: Any, *, else_json: bool = False) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return _unpacked(what, value["base64"])
    if not isinstance(value, str):
        if not else_json:
            raise TypeError(f"{what}: it is {_kind(value)}; legal is {_BYTES}")
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what}: it has half a surrogate pair; give base64") from None


def _unpacked(what: str, text: Any) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (NotBase64, ValueError, TypeError):
        raise ValueError(f"{what}: {text!r} is no base 64") from None


def _headers(found: Any) -> Headers:
    return arguments.headers(_pairs(found))


def _pairs(found: Any) -> list[tuple[str, bytes | None]]:
    pairs = list(found.items()) if isinstance(found, dict) else found
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise TypeError(f"headers: legal is {_HEADERS}; a value is {_BYTES}")
    return [(name, _bytes(f"header {name!r}", one)) for name, one in pairs]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)


def _timestamp(found: Any) -> int | None:
    if not isinstance(found, str):
        return arguments.timestamp(found)
    try:
        return arguments.timestamp(datetime.fromisoformat(found))
    except (ValueError, TypeError):
        text = f"timestamp: {found[:80]!r} is not legal; legal is {_TIME}"
        raise ValueError(text) from None


def _offset(found: Any) -> int:
    if type(found) is not int or found < 0:
        raise ValueError(f"offset: {found!r} is not a whole number from 0")
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadLine(f"{twice}: an object has it twice")
    return found


def _refuse(constant: str) -> Any:
    raise BadLine(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise BadLine(f"{text} is too large for a number; give the JSON as a text")
    return number


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", list: "a list", dict: "an object", str: "a text"}
    return kinds.get(type(value), "null" if value is None else "a number")
