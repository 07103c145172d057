"""The secrets of a spec, so that they can be kept out of what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr

from worker.settings.spec import Spec


def secrets_of(spec: Spec) -> tuple[str, ...]:
    """Every secret that is written in a spec, and all that files have brought into it."""
    return tuple(dict.fromkeys([*_secrets(spec), *spec.from_files]))


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
