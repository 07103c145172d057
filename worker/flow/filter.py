"""Which messages are meant, by their keys, headers and payloads."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.types import Message

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a JSON payload that has to have a value."""

    path: Sequence[str]
    """The names and indices that lead to it."""
    value: str
    """Its text, or the JSON of what is no text."""


def field_of(text: str) -> Field | None:
    """What `status=open` or, with a JSON pointer, `/items/0/id=7` asks for; None if neither."""
    place, found, value = text.partition("=")
    if not found or not place:
        return None
    if not place.startswith("/"):
        return Field((place,), value)
    steps = place[1:].split("/")
    return Field([step.replace("~1", "/").replace("~0", "~") for step in steps], value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Messages with one of the keys, in one of the partitions, and with all the rest.

    Of an empty kind all do.
    """

    keys: Collection[bytes] = ()
    partitions: Collection[int] = ()
    headers: Sequence[tuple[str, bytes | None]] = ()
    """Names and values; None is any value."""
    texts: Sequence[bytes] = ()
    """What the payload has to hold somewhere."""
    fields: Sequence[Field] = ()

    def takes(self, message: Message) -> bool:
        """Whether a message is meant."""
        return (
            (not self.keys or message.key in self.keys)
            and (not self.partitions or message.partition in self.partitions)
            and all(_has(message, name, value) for name, value in self.headers)
            and all(text in (message.value or b"") for text in self.texts)
            and (not self.fields or self._have_values(message.value))
        )

    def _have_values(self, payload: bytes | None) -> bool:
        found = json_of(payload)
        return all(_is(_at(found, one.path), one.value) for one in self.fields)


def json_of(payload: bytes | None) -> Any:
    """What the JSON of a payload says; text that nobody writes as JSON where it is none."""
    try:
        return json.loads(payload or b"")
    except (ValueError, RecursionError):
        return _NOTHING


def _has(message: Message, name: str, value: bytes | None) -> bool:
    return any(
        header == name and (value is None or found == value) for header, found in message.headers
    )


def _at(found: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(found, dict):
            found = found.get(step, _NOTHING)
        elif isinstance(found, list) and _INDEX.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            return _NOTHING
    return found


def _is(found: Any, text: str) -> bool:
    if found is _NOTHING or isinstance(found, str):
        return bool(found == text)
    wanted = json_of(text.encode("utf-8", "surrogateescape"))
    return isinstance(wanted, bool) == isinstance(found, bool) and bool(wanted == found)
