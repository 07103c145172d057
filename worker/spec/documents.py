"""Specs and files of tests, loaded from text and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worker.errors import BadConfiguration
from worker.settings import WRITTEN, ItemProblems, Lifecycle, Spec
from worker.spec.checks import contradictions
from worker.spec.sentences import sentence
from worker.spec.testfile import TestFile, topics_of
from worker.spec.text import read
from worker.spec.tree import KeyPath, Tree
from worker.types import Problem

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """A spec and where its keys stand."""

    file: str
    spec: Spec
    tree: Tree

    def problem(self, path: Sequence[str | int], text: str) -> Problem:
        """A mistake at a key, or at the nearest one above it that the file has."""
        return self.tree.problem(tuple(path), text)


def load(file: Path, environ: Mapping[str, str]) -> Document:
    """Load a spec; raises `BadConfiguration` with every problem, in the order of the lines."""
    return _document(read(file, environ))


def check(
    files: Sequence[Path], environ: Mapping[str, str]
) -> tuple[list[Document], list[Problem]]:
    """Load specs and files of tests, told apart by the key `tests`; all problems of all files."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in files:
        try:
            tree = read(file, environ)
            if "tests" in tree.value and "pipelines" not in tree.value:
                _check_tests(file, tree, environ)
            else:
                documents.append(_document(tree))
        except BadConfiguration as error:
            problems += error.problems
    return documents, problems


def _document(tree: Tree) -> Document:
    spec = _validated(tree, Spec)
    _raise([tree.problem(path, text) for path, text in contradictions(spec)])
    return Document(tree.file, spec, tree)


def _check_tests(file: Path, tree: Tree, environ: Mapping[str, str]) -> None:
    tests = _validated(tree, TestFile)
    known = topics_of(_spec_of(file, tree, tests, environ))
    _raise(
        tree.problem(path, f"the spec does not name topic {topic!r}; it names {', '.join(known)}")
        for path, topic in tests.topics()
        if topic not in known
    )


def _spec_of(file: Path, tree: Tree, tests: TestFile, environ: Mapping[str, str]) -> Spec:
    target = file.parent / tests.spec
    if not target.is_file():
        words = f"{tests.spec!r} is no file; legal is the path of a spec, relative to this file"
        _raise([tree.problem(("spec",), words)])
    try:
        return load(target, environ).spec
    except BadConfiguration as error:
        count = len(error.problems)
        words = f"{tests.spec!r} does not load; the first of its problems ({count}) is "
        raise BadConfiguration([tree.problem(("spec",), f"{words}{error.problems[0]}")]) from None


def _validated(tree: Tree, model: type[M]) -> M:
    problems = list(tree.problems)
    try:
        validated = model.model_validate(tree.value, context=WRITTEN, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += _explained(tree, model, error.errors(include_url=False))
        raise BadConfiguration(_sorted(problems)) from None
    _raise(problems)
    return validated


def _explained(
    tree: Tree, model: type[BaseModel], errors: Iterable[ErrorDetails]
) -> Iterable[Problem]:
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        by_path.setdefault(_written(tree, error), []).append(error)
    return [
        tree.problem(place, text)
        for path, found in by_path.items()
        if not any(faulty[: len(path)] == path for faulty in tree.faulty)
        for place, text in _sentences(tree, model, path, found)
    ]


def _sentences(
    tree: Tree, model: type[BaseModel], path: KeyPath, found: Sequence[ErrorDetails]
) -> Iterable[tuple[KeyPath, str]]:
    cause = found[0].get("ctx", {}).get("error")
    if isinstance(cause, ItemProblems):
        return [((*path, key), text) for key, text in cause.problems.items()]
    return [(path, sentence(model, path, found, tree))]


def _written(tree: Tree, error: ErrorDetails) -> KeyPath:
    """The path as it stands in the file.

    Keys for all pipelines are passed on to each; names of a union's members and the mark of a key
    follow the path that was written.
    """
    path: KeyPath = error["loc"]
    if path[:1] == ("pipelines",) and path not in tree.places and path[2:3] in _SHARED:
        path = path[2:]
    return path if error["type"] == "missing" else tree.deepest(path)


_SHARED = {(name,) for name in Lifecycle.model_fields}


def _raise(problems: Iterable[Problem]) -> None:
    found = _sorted(problems)
    if found:
        raise BadConfiguration(found)


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda p: (p.line, p.column))
