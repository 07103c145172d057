"""A file's text as a tree: YAML with what can surprise or blow up refused.

Scalars are those of YAML 1.2 (`scalars.py`). Tags, anchors, merges, duplicate keys, more than one
document, depth and size are refused, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from worker.errors import BadConfiguration
from worker.spec.interpolation import Interpolation
from worker.spec.scalars import core
from worker.spec.tree import KeyPath, Place, Tree

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 20

Plain = yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent
Node = Plain | yaml.AliasEvent

Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_ILLEGAL: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no YAML text may hold, section 5.1."""

_UNFINISHED: Final = (
    "found unexpected end of stream",
    "could not find expected ':'",
    "did not find expected ',' or",
)
_MAY_BE_GLUED: Final = (
    "could not find expected ':'",
    "mapping values are not allowed in this context",
)
_GLUED: Final = re.compile(r"\s*([\w.-]+):(?![\s/:]|$)")
_GLUED_WORDS: Final = "a space is missing after this `:`"


def read(file: Path, environ: Mapping[str, str]) -> Tree:
    """Read a file; raises `BadConfiguration` where it is no YAML that could be a spec."""
    tree = Tree(str(file))
    text = _text(tree, file)
    try:
        _Builder(tree, environ, yaml.parse(text, Loader=Loader)).document()
    except yaml.MarkedYAMLError as error:
        _refuse_syntax(tree, text, error)
    except yaml.YAMLError as error:
        _refuse(tree, f"is not YAML: {str(error).splitlines()[0]}")
    return tree


def _refuse(tree: Tree, text: str, place: Place | None = None) -> NoReturn:
    raise BadConfiguration([tree.problem_at(place or Place(1, 1), (), text)]) from None


def _refuse_syntax(tree: Tree, text: str, error: yaml.MarkedYAMLError) -> NoReturn:
    mark = error.problem_mark or error.context_mark
    words = ", ".join(filter(None, (error.context, error.problem)))
    if mark is not None and text[mark.index : mark.index + 1] == "\t":
        words = "a tab does not indent; use spaces"
    elif mark is not None and text[max(mark.index - 1, 0) : mark.index + 1] == "${":
        words = (
            "within { } or [ ] a ${...} needs quotes; for a number write its key on its own line"
        )
    elif error.problem in _MAY_BE_GLUED and (glued := _glued(text, _begin(error).line)):
        _refuse(tree, _GLUED_WORDS, glued)
    else:
        mark = _begin(error)
    _refuse(tree, f"is not YAML: {words}", _at(mark))


def _begin(error: yaml.MarkedYAMLError) -> Any:
    """Where a mistake is: for what never ends, where it begins, not where that was noticed."""
    unfinished = str(error.problem).startswith(_UNFINISHED)
    first, second = error.context_mark, error.problem_mark
    return (first or second) if unfinished else (second or first)


def _glued(text: str, line: int) -> Place | None:
    """The place of a key without a space behind its colon, in a line or the one before it."""
    lines = text.splitlines()
    for number in (line, line - 1):
        found = _GLUED.match(lines[number]) if 0 <= number < len(lines) else None
        if found is not None:
            return Place(number + 1, found.end(1) + 1)
    return None


def _text(tree: Tree, file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        _refuse(tree, f"cannot be read: {error.strerror}")
    if len(data) > MAX_BYTES:
        _refuse(tree, f"is larger than {MAX_BYTES} bytes (1 MiB), the most a spec may have")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = _place_in(data[: error.start].decode(), error.start)
        _refuse(tree, f"is not UTF-8 text: byte {error.start}; is it a binary file?", place)
    if not text.strip():
        _refuse(tree, "is empty; a spec has `version: 1` and so on")
    illegal = _ILLEGAL.search(text)
    if illegal is not None:
        words = f"holds U+{ord(illegal[0]):04X}, which is no text; is it a binary file?"
        _refuse(tree, words, _place_in(text, illegal.start()))
    return text


def _place_in(text: str, index: int) -> Place:
    before = text[:index]
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Builder:
    """Makes values of the parser's events; mistakes in values are collected in the tree."""

    def __init__(self, tree: Tree, environ: Mapping[str, str], events: Iterator[Any]) -> None:
        self._tree = tree
        self._environ = environ
        self._events = events

    def document(self) -> None:
        """Take the only document, whose root is a mapping."""
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            _refuse(self._tree, "holds no keys; a spec has `version: 1` and so on")
        root = next(self._events)
        self._tree.value = self._value(root, ())
        if not isinstance(root, yaml.MappingStartEvent):
            self._refuse_root(root)
        next(self._events)
        end = next(self._events)
        if not isinstance(end, yaml.StreamEndEvent):
            words = "a second document begins here; one file is one document"
            _refuse(self._tree, words, _at(end.start_mark))

    def _refuse_root(self, root: Any) -> NoReturn:
        if isinstance(root, yaml.ScalarEvent) and not root.style:
            glued = _glued(str(root.value), 0)
            if glued is not None:
                at = _at(root.start_mark)
                _refuse(self._tree, _GLUED_WORDS, Place(at.line, at.column + glued.column - 1))
        words = "holds no keys; a spec is a mapping with `version: 1` and so on"
        _refuse(self._tree, words, _at(root.start_mark))

    def _value(self, event: Node, path: KeyPath) -> Any:
        place = _at(event.start_mark)
        event = self._plain(event, place)
        self._tree.places.setdefault(path, place)
        if len(path) > MAX_DEPTH:
            _refuse(self._tree, f"is nested deeper than {MAX_DEPTH} levels", place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _plain(self, event: Node, place: Place) -> Plain:
        if isinstance(event, yaml.AliasEvent):
            words = f"the alias *{event.anchor} is not legal; write the value out"
            _refuse(self._tree, words, place)
        if event.anchor is not None:
            words = f"the anchor &{event.anchor} is not legal; write the value out where it is used"
            _refuse(self._tree, words, place)
        if event.tag is not None:
            words = f"the tag {event.tag} is not legal; write the plain value"
            _refuse(self._tree, words, place)
        return event

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, place = self._key(event), _at(event.start_mark)
            here = (*path, key)
            if key in mapping:
                self._second(here, place)
            else:
                self._tree.places[here] = place
                mapping[key] = self._value(next(self._events), here)
        return mapping

    def _second(self, path: KeyPath, place: Place) -> None:
        """Read over the value of a key that stands twice: the first counts."""
        words = f"stands twice: here and in line {self._tree.places[path].line}; leave one"
        self._tree.problems.append(self._tree.problem_at(place, path, words))
        places, faulty = self._tree.places, self._tree.faulty
        self._tree.places, self._tree.faulty = {path: place}, set()
        self._value(next(self._events), path)
        self._tree.places, self._tree.faulty = places, faulty

    def _key(self, event: Node) -> str:
        place = _at(event.start_mark)
        event = self._plain(event, place)
        if not isinstance(event, yaml.ScalarEvent):
            _refuse(self._tree, "a key is a word, not a list or a mapping", place)
        if event.value == "<<" and not event.style:
            _refuse(self._tree, "the merge key << is not legal; write the keys out", place)
        return str(event.value)

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        text, secret = str(event.value), False
        if "${" in text:
            done = Interpolation(self._environ).run(text)
            text, secret = done.text, bool(done.secrets)
            self._note(path, done)
        return text if event.style or secret else core(text)

    def _note(self, path: KeyPath, done: Interpolation) -> None:
        if done.secrets:
            self._tree.secrets[path] = [content for content in done.secrets if content]
        if done.faults:
            self._tree.faulty.add(path)
            self._tree.problems += [self._tree.problem(path, fault) for fault in done.faults]


def _at(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
