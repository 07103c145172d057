"""Whether a payload is what was expected, or has what was expected in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

ANYTHING: Final = object()
"""Whatever the payload is."""


def equals(wanted: Any, found: bytes | None) -> bool:
    """Whether a payload is this value: as JSON, as text, or bytes as `{"base64": ...}`."""
    return wanted is ANYTHING or any(wanted == reading for reading in readings(found))


def holds(wanted: Any, found: bytes | None) -> bool:
    """Whether a payload has this in it: the keys of objects that are named, at any depth."""
    return wanted is ANYTHING or any(is_part(wanted, reading) for reading in readings(found))


def is_part(wanted: Any, found: Any) -> bool:
    """Whether a value has in it what is wanted; lists are as long, and a text may be in another."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and is_part(one, found[key]) for key, one in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(is_part, wanted, found))
        )
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted in found
    return bool(wanted == found)


def readings(payload: bytes | None) -> Iterator[Any]:
    """What a payload may be taken for, the likeliest first."""
    if payload is None:
        yield None
        return
    with suppress(orjson.JSONDecodeError):
        yield orjson.loads(payload)
    with suppress(UnicodeDecodeError):
        yield payload.decode()
    yield {"base64": b64encode(payload).decode()}
