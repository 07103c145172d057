"""Whether a payload is what was expected, or has what was expected in it, and what differs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import orjson

ANYTHING: Final = object()
"""Whatever the payload is."""

Difference = tuple[tuple[str | int, ...], str]
"""Where two values differ, as keys and places, and a sentence."""


def equals(wanted: Any, found: bytes | None) -> bool:
    """Whether a payload is this value: JSON, text, or bytes as `{"base64": ...}`."""
    return any(not any(differences(wanted, one, part=False)) for one in readings(found))


def holds(wanted: Any, found: bytes | None) -> bool:
    """Whether a payload has this in it: of objects the keys that are named, at any depth."""
    return any(not any(differences(wanted, one, part=True)) for one in readings(found))


def differences(wanted: Any, found: Any, *, part: bool) -> Iterator[Difference]:
    """Where a value differs from what is wanted; with `part` objects and texts may have more."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, one in wanted.items():
            if key not in found:
                yield (key,), "is missing"
                continue
            yield from _below(key, differences(one, found[key], part=part))
        for key in () if part else (one for one in found if one not in wanted):
            yield (), f"has {key!r}, too: {shown(found[key])}"
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield (), f"{len(found)} items instead of {len(wanted)}: {shown(found)}"
        for place, (one, other) in enumerate(zip(wanted, found, strict=False)):
            yield from _below(place, differences(one, other, part=part))
    elif not _is_same(wanted, found, part=part):
        yield (), f"{shown(found)} instead of {shown(wanted)}"


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


def shown(value: Any) -> str:
    """A value in one line, as JSON where it can be."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return repr(value)


def _is_same(wanted: Any, found: Any, *, part: bool) -> bool:
    if part and isinstance(wanted, str) and isinstance(found, str):
        return wanted in found
    return isinstance(wanted, bool) is isinstance(found, bool) and bool(wanted == found)


def _below(key: str | int, found: Iterator[Difference]) -> Iterator[Difference]:
    return (((key, *path), text) for path, text in found)
