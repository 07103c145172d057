"""What stands where in the models: the fields at a path, and which of them are secret."""

from __future__ import annotations

import types
import typing
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from worker.spec.tree import KeyPath


def fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that are written."""
    if model is None:
        return {}
    return {info.alias or name: info for name, info in model.model_fields.items()}


def model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model of the mapping at a path; None where there is none."""
    kind: Any = model
    for part in path:
        kind = _step(kind, part)
    return next((option for option in _options(kind) if _is_model(option)), None)


def holds_secret(owner: type[BaseModel] | None, path: KeyPath) -> bool:
    """Whether the field that a path names is a secret, or has one inside."""
    info = fields(owner).get(str(path[-1])) if path else None
    return info is not None and _secret(info.annotation)


def _secret(kind: Any) -> bool:
    return any(
        option is SecretStr
        or (_is_model(option) and any(_secret(info.annotation) for info in fields(option).values()))
        for option in _options(kind)
    )


def _step(kind: Any, part: str | int) -> Any:
    for option in _options(kind):
        if _is_model(option) and (info := fields(option).get(str(part))) is not None:
            return info.annotation
        if get_origin(option) in {dict, list}:
            return get_args(option)[-1]
    return None


def _options(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is typing.Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return tuple(inner for part in get_args(kind) for inner in _options(part))
    return (kind,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
