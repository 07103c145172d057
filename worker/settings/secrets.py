"""The secrets of a spec, so that they can be kept out of what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr


def secrets_of(settings: BaseModel) -> tuple[str, ...]:
    """Every secret that is written in the settings, or in a file that they name in its place."""
    return tuple(dict.fromkeys(_secrets(settings)))


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case dict():
            for one in value.values():
                yield from _secrets(one)
        case list() | tuple():
            for one in value:
                yield from _secrets(one)
