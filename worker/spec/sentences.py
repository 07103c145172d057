"""pydantic's errors as sentences that name what is wrong and what is legal."""

from __future__ import annotations

import difflib
import types
import typing
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from worker.spec.text import KeyPath

LATER: Final = {
    "retry": "retries",
    "timeout": "time-outs of handlers",
    "transaction": "transactions",
    "pool": "pools by name",
    "lane": "lanes by key",
    "rate_limit": "rate limits",
    "key_decode": "decoding of keys",
    "librdkafka": "properties of librdkafka",
    "breaker": "circuit breakers",
}
"""Keys that a later version brings."""

LATER_VALUES: Final = {"exactly_once", "key", "none"}

_KINDS: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def sentence(model: type[BaseModel], path: KeyPath, error: dict[str, Any], *, secret: bool) -> str:
    """What is wrong at `path`; a secret's value is never part of it."""
    kind, context = error["type"], error.get("ctx", {})
    owner = _model_at(model, path[:-1])
    hidden = secret or _is_secret(owner, path)
    shown = "the value" if hidden else _shown(error["input"])
    match kind:
        case "missing":
            return "is missing" + _meaning(owner, path)
        case "extra_forbidden":
            return _unknown_key(owner, str(path[-1]))
        case "literal_error":
            return _not_one_of(shown, error["input"], context["expected"])
        case "value_error":
            return "the value is not legal" if hidden else str(context["error"])
        case "string_pattern_mismatch":
            return f"{shown} is not legal; legal are letters, digits, '.', '_' and '-'"
        case "too_short" | "string_too_short":
            return "is empty; at least one is needed"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            return f"{shown} is out of range; it {error['msg'].removeprefix('Input ')}"
        case _ if kind in _KINDS:
            return f"{shown} is not {_KINDS[kind]}"
        case _:
            return f"{shown}: {error['msg']}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _meaning(owner: type[BaseModel] | None, path: KeyPath) -> str:
    fields = _fields(owner)
    found = fields.get(str(path[-1])) if path else None
    return f": {found.description}" if found is not None and found.description else ""


def _unknown_key(owner: type[BaseModel] | None, key: str) -> str:
    if key in LATER:
        return f"{LATER[key]} are not supported yet"
    legal = list(_fields(owner))
    near = difflib.get_close_matches(key, legal, 1)
    if near:
        return f"no such key; did you mean `{near[0]}`?"
    return f"no such key; legal are {', '.join(sorted(legal))}"


def _not_one_of(shown: str, value: object, expected: str) -> str:
    if value in LATER_VALUES:
        return f"{shown} is not supported yet; legal is {expected}"
    return f"{shown} is not legal; legal {'are' if ' or ' in expected else 'is'} {expected}"


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    if model is None:
        return {}
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _is_secret(owner: type[BaseModel] | None, path: KeyPath) -> bool:
    info = _fields(owner).get(str(path[-1])) if path else None
    return info is not None and SecretStr in _parts(info.annotation)


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    kind: Any = model
    for part in path:
        kind = _step(kind, part)
    return next((part for part in _parts(kind) if _is_model(part)), None)


def _step(kind: Any, part: str | int) -> Any:
    for option in _parts(kind):
        if _is_model(option) and (info := _fields(option).get(str(part))) is not None:
            return info.annotation
        if get_origin(option) in (dict, list):
            return get_args(option)[-1]
    return None


def _parts(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is typing.Annotated:
        return _parts(get_args(kind)[0])
    if get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(inner for part in get_args(kind) for inner in _parts(part))
    return (kind,)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
