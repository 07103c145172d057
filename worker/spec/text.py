"""A file's text as a tree of plain values, each with the place where it stands.

Scalars are those of YAML 1.2's core schema: `no`, `012`, `1_000` and dates are not what YAML 1.1
makes of them. What can surprise or blow up is refused: tags, anchors, merges, duplicate keys, depth
and size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from worker.errors import BadConfiguration
from worker.types import Problem

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 20

Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE: Final[tuple[tuple[str, Callable[[str], Any]], ...]] = (
    (r"null|Null|NULL|~|", lambda _: None),
    (r"true|True|TRUE", lambda _: True),
    (r"false|False|FALSE", lambda _: False),
    (r"[-+]?[0-9]{1,400}", int),
    (r"0o[0-7]{1,400}", lambda text: int(text, 0)),
    (r"0x[0-9a-fA-F]{1,400}", lambda text: int(text, 0)),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"[-+]?\.(inf|Inf|INF)", lambda text: float(text.replace(".", ""))),
    (r"\.(nan|NaN|NAN)", lambda _: float("nan")),
)
"""Scalars of the core schema, YAML 1.2.2 section 10.3.2, in the order that they are tried."""

_IMPLICIT: Final = {
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
}
_COLLECTIONS: Final = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_QUOTED: Final = {"tag:yaml.org,2002:str"}

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Tree:
    """The values of a file, and where each key and item stands."""

    file: str
    value: Any = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    secret: set[KeyPath] = field(default_factory=set)
    """Values that come from files, which are never shown."""

    def place(self, path: KeyPath) -> Place:
        """Where a key stands, or the nearest one above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at a key."""
        place = self.place(path)
        return Problem(self.file, place.line, place.column, dotted(path), text)


def dotted(path: KeyPath) -> str:
    """A path as it is shown: `pipelines.delays.from[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "(file)"


def read(file: Path, environ: Mapping[str, str]) -> Tree:
    """Read a file; raises `BadConfiguration` where it is no YAML that could be a spec."""
    tree = Tree(str(file))
    node = _compose(tree, _text(tree, file))
    _Builder(tree, environ).build(node)
    return tree


def _refuse(tree: Tree, text: str, line: int = 1, column: int = 1) -> BadConfiguration:
    return BadConfiguration([Problem(tree.file, line, column, "(file)", text)])


def _text(tree: Tree, file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refuse(tree, f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _refuse(tree, f"is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _refuse(tree, f"is not UTF-8 text: byte {error.start}") from None
    if not text.strip():
        raise _refuse(tree, "is empty; a spec has `version: 1` and so on")
    return text


def _compose(tree: Tree, text: str) -> yaml.Node:
    loader = Loader(text)
    try:
        _limit_depth(tree, text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(filter(None, (error.context, error.problem)))
        raise _refuse(tree, f"is not YAML: {words}", *_at(mark)) from None
    except yaml.YAMLError as error:
        raise _refuse(tree, f"is not YAML: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        raise _refuse(tree, "holds no keys; a spec is a mapping with `version: 1` and so on")
    return node


def _limit_depth(tree: Tree, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refuse(tree, "anchors and aliases are not legal", *_at(mark))
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _refuse(tree, f"is nested deeper than {MAX_DEPTH} levels", *_at(mark))


class _Builder:
    """Makes values of nodes; problems are collected in the tree."""

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._environ = environ

    def build(self, node: yaml.Node) -> None:
        self._tree.value = self._value(node, ())

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._tree.places.setdefault(path, Place(*_at(node.start_mark)))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            self._fail(path, f"the tag {node.tag} is not legal")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        raise TypeError(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*path, key)
            place = Place(*_at(key_node.start_mark))
            if not isinstance(key_node, yaml.ScalarNode) or key == "<<":
                self._add(
                    place, path, "keys are plain words; merges and complex keys are not legal"
                )
            elif key in mapping:
                first = self._tree.places[here].line
                self._add(place, here, f"stands twice, first in line {first}")
            else:
                self._tree.places[here] = place
                mapping[key] = self._value(value_node, here)
        return mapping

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        plain = not node.style
        if node.tag not in (_IMPLICIT if plain else _QUOTED):
            self._fail(path, f"the tag {node.tag} is not legal")
            return None
        text = self._interpolate(node.value, path)
        return _core(text) if plain and path not in self._tree.secret else text

    def _interpolate(self, text: str, path: KeyPath) -> str:
        def resolve(found: re.Match[str]) -> str:
            return "${" if found[0] == "$${" else self._resolve(found[1], path)

        return _REFERENCE.sub(resolve, text) if "${" in text else text

    def _resolve(self, reference: str, path: KeyPath) -> str:
        if reference.startswith("file:"):
            return self._secret(reference[len("file:") :], path)
        name, has_default, default = reference.partition(":")
        if not _NAME.fullmatch(name):
            self._fail(
                path,
                f"${{{reference}}} is not legal; legal are "
                "${NAME}, ${NAME:default} and ${file:/path}",
            )
            return ""
        if name in self._environ:
            return self._environ[name]
        if not has_default:
            self._fail(
                path,
                f"the environment variable {name} is not set; "
                f"set it, or give a default: ${{{name}:default}}",
            )
        return default

    def _secret(self, name: str, path: KeyPath) -> str:
        self._tree.secret.add(path)
        try:
            with Path(name).open("rb") as stream:
                data = stream.read(MAX_BYTES)
            return data.decode().rstrip("\r\n")
        except OSError as error:
            self._fail(path, f"the file {name} cannot be read: {error.strerror}")
        except ValueError:
            self._fail(path, f"the file {name} is not UTF-8 text")
        return ""

    def _fail(self, path: KeyPath, text: str) -> None:
        self._add(self._tree.place(path), path, text)

    def _add(self, place: Place, path: KeyPath, text: str) -> None:
        problem = Problem(self._tree.file, place.line, place.column, dotted(path), text)
        self._tree.problems.append(problem)


def _at(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _core(text: str) -> Any:
    for pattern, convert in _CORE:
        if re.fullmatch(pattern, text):
            return convert(text)
    return text
