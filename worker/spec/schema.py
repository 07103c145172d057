"""JSON Schema and the reference page, made from the settings."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from worker.settings import Spec

HEAD = """\
# The spec

Every key, made from `worker/settings.py` by `make docs`; the JSON Schema for editors is
`worker schema`. Durations (`200ms`, `10s`, `5m`, `1h`, `7d`) and sizes (`512KiB`, `32MiB`, `1MB`)
carry a unit. In values `${NAME}`, `${NAME:default}` and `${file:/path}` are replaced; `$${` stands
for `${`.
"""


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a spec as it is written."""
    schema = Spec.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_interpolated(schema),
        "title": "stream-worker",
    }


def reference() -> str:
    """The page `docs/spec.md`: a table for each part of the spec."""
    return HEAD + "".join(_section(path, model) for path, model in _models("", Spec))


def _interpolated(node: Any) -> Any:
    """Let numbers and booleans also be written as `${...}`."""
    if isinstance(node, list):
        return [_interpolated(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _interpolated(value) for key, value in node.items()}
    if node.get("type") in ("integer", "number", "boolean"):
        outer = {key: node.pop(key) for key in ("description", "default", "title") if key in node}
        return {"anyOf": [node, {"type": "string", "pattern": r"^\$\{.+\}$"}], **outer}
    return node


def _models(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, info in model.model_fields.items():
        key = info.alias or name
        for kind, suffix in _inner_models(info.annotation):
            yield from _models(f"{path}.{key}{suffix}".lstrip("."), kind)


def _inner_models(kind: Any, suffix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, suffix
    origin = get_origin(kind)
    if origin is dict:
        yield from _inner_models(get_args(kind)[1], f"{suffix}.*")
    elif origin in (typing.Union, types.UnionType, typing.Annotated):
        for part in get_args(kind):
            yield from _inner_models(part, suffix)


def _section(path: str, model: type[BaseModel]) -> str:
    title = f"## `{path}`" if path else "## Top level"
    rows = "".join(_row(info.alias or name, info) for name, info in model.model_fields.items())
    purpose = (model.__doc__ or "").strip().splitlines()[0]
    return f"\n{title}\n\n{purpose}\n\n| key | default | meaning |\n|--|--|--|\n{rows}"


def _row(key: str, info: FieldInfo) -> str:
    default = "required" if info.is_required() else _default(info)
    return f"| `{key}` | {default} | {_legal(info)} |\n"


def _legal(info: FieldInfo) -> str:
    words = [
        f"`{value}`"
        for part in (info.annotation, *get_args(info.annotation))
        if get_origin(part) is typing.Literal
        for value in get_args(part)
    ]
    meaning = info.description or ""
    return f"{meaning} Legal: {', '.join(dict.fromkeys(words))}." if len(words) > 1 else meaning


def _default(info: FieldInfo) -> str:
    value = info.default
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    kinds = str(info.metadata)
    if isinstance(value, float) and "duration" in kinds:
        return f"`{_with_unit(value, (('m', 60.0), ('s', 1.0), ('ms', 0.001)))}`"
    if isinstance(value, int) and "size" in kinds:
        units = (("GiB", 1024.0**3), ("MiB", 1024.0**2), ("KiB", 1024.0), ("B", 1.0))
        return f"`{_with_unit(value, units)}`"
    if value in ({}, []):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _with_unit(value: float, units: tuple[tuple[str, float], ...]) -> str:
    for name, factor in units:
        if value >= factor and round(value / factor, 6).is_integer():
            return f"{round(value / factor)}{name}"
    return f"{value}s"
