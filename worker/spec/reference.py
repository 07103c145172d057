"""The page `docs/spec.md`: a table for each part of the spec, made from its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from worker.spec.schema import written_schema

Node = dict[str, Any]

HEAD: Final = """\
# The spec

Every key, made from `worker/settings` by `python -m worker.spec > docs/spec.md`; the JSON Schema
for editors is made by `worker schema > pipeline.schema.json`, both by `make docs`. What is below
`tests` may stand in a file of its own, see [testing.md](testing.md).

Durations (`200ms`, `10s`, `5m`, `1h`, `7d`) and sizes (`512KiB`, `32MiB`, `1MB`) carry a unit.
Values are those of YAML 1.2: `no`, `1_000` and dates are texts, `012` is twelve. Anchors, aliases,
merge keys, tags and duplicate keys are refused.

In values, not in keys, `${NAME}` and `${NAME:default}` are replaced by a variable of the
environment, and `${file:/path}` by the content of a file without its last newline; `$${` stands for
`${`. What is written without quotes is then typed as if it had been written so (`${N:4}` is a
number), in quotes it stays a text; the content of a file is always a text and is never shown.
"""


def reference() -> str:
    """The page in markdown."""
    schema = written_schema()
    paths: dict[str, tuple[list[str], Node]] = {}
    for path, model in _models("", schema, schema):
        paths.setdefault(model["title"], ([], model))[0].append(path)
    return HEAD + "".join(_section(there, model) for there, model in paths.values())


def _models(path: str, model: Node, schema: Node) -> Iterator[tuple[str, Node]]:
    yield path, model
    for key, node in model["properties"].items():
        for inner, suffix in _mappings(node):
            yield from _models(f"{path}.{key}{suffix}".lstrip("."), schema["$defs"][inner], schema)


def _mappings(node: Node, suffix: str = "") -> Iterator[tuple[str, str]]:
    if "$ref" in node:
        yield node["$ref"].rpartition("/")[2], suffix
    for option in node.get("anyOf", ()):
        yield from _mappings(option, suffix)
    if "items" in node:
        yield from _mappings(node["items"], f"{suffix}[]")
    for items in (node.get("additionalProperties"), *node.get("patternProperties", {}).values()):
        if isinstance(items, dict):
            yield from _mappings(items, f"{suffix}.*")


def _section(paths: Sequence[str], model: Node) -> str:
    title = ", ".join(f"`{path}`" for path in paths) if paths[0] else "Top level"
    required = model.get("required", ())
    rows = "".join(
        f"| `{key}` | {_type(node)} | {_default(node, required=key in required)} "
        f"| {node['description']} |\n"
        for key, node in model["properties"].items()
    )
    purpose = model["description"].splitlines()[0]
    return f"\n## {title}\n\n{purpose}\n\n| key | type | default | meaning |\n|--|--|--|--|\n{rows}"


def _type(node: Node) -> str:
    if "anyOf" in node:
        return " or ".join(_type(one) for one in node["anyOf"] if one.get("type") != "null")
    for name in ("const", "enum"):
        if name in node:
            values = node[name] if name == "enum" else [node[name]]
            return ", ".join(f"`{_plain(value)}`" for value in values)
    kind = node.get("type")
    if kind == "array":
        word, _, more = _type(node["items"]).partition(" ")
        return f"list of {word}s {more}".rstrip()
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(node)
    if kind == "string":
        return _text_type(node)
    words = {"boolean": "true or false", None: "mapping" if "$ref" in node else "anything"}
    return words.get(kind, "mapping")


def _text_type(node: Node) -> str:
    if node.get("format") == "password":
        return "text, secret"
    if "examples" in node:
        return "text such as " + ", ".join(f"`{example}`" for example in node["examples"])
    return "text"


def _range(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if high is None:
        return "" if low is None else f", {low} or more"
    return f", {low} to {high}"


def _default(node: Node, *, required: bool) -> str:
    if required:
        return "required"
    default = node.get("default")
    if default is None:
        return "none"
    if isinstance(default, dict):
        return "see below" if "$ref" in node else "empty"
    return f"`{_plain(default)}`"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
