"""JSON Schema of a spec as it is written, for editors and for the reference page."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from worker.settings import Lifecycle, Spec
from worker.spec.units import united

_REFERENCE: Final = {"type": "string", "pattern": r"\$\{.+\}"}
_OUTSIDE: Final = ("title", "description", "default")
"""What is said of a key as a whole, whichever of its forms is written."""


def json_schema(model: type[BaseModel] = Spec) -> dict[str, Any]:
    """JSON Schema, draft 2020-12; what must be no text may also be written as `${...}`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_interpolated(written_schema(model)),
        "title": "stream-worker" if model is Spec else "stream-worker tests",
    }


def written_schema(model: type[BaseModel] = Spec) -> dict[str, Any]:
    """The schema of the values after interpolation, with defaults as they would be written."""
    schema: dict[str, Any] = _as_written(model.model_json_schema(by_alias=True, mode="validation"))
    for one in (schema, *schema["$defs"].values()):
        keys = one["properties"]
        one["properties"] = dict(sorted(keys.items(), key=lambda item: item[0] in _SHARED))
    return schema


_SHARED: Final = frozenset(Lifecycle.model_fields)
"""Keys of all pipelines, which come after those of the one or of the spec."""


def _as_written(node: Any) -> Any:
    """Write defaults with their units, and let a mapping have no keys of another form."""
    if isinstance(node, list):
        return [_as_written(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _as_written(value) for key, value in node.items()}
    default = node.get("default")
    if node.get("type") == "string" and isinstance(default, (int, float)):
        is_rate = "/" in "".join(node.get("examples", ()))
        node["default"] = f"{default:g}/s" if is_rate else united(default)
    if "patternProperties" in node:
        node["additionalProperties"] = False
    return node


def _interpolated(node: Any) -> Any:
    """Let numbers, booleans, choices and texts of a form also be written as `${...}`."""
    if isinstance(node, list):
        return [_interpolated(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {
        key: value if key in {"propertyNames", "default"} else _interpolated(value)
        for key, value in node.items()
    }
    if node.get("type") in {"integer", "number", "boolean"} or _is_strict_text(node):
        outside = {key: node.pop(key) for key in _OUTSIDE if key in node}
        return {"anyOf": [node, _REFERENCE], **outside}
    return node


def _is_strict_text(node: dict[str, Any]) -> bool:
    return node.get("type") == "string" and bool({"enum", "const", "pattern"} & node.keys())
