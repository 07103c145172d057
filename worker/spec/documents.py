"""Specs and files of tests, loaded from text and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from worker.errors import BadConfiguration
from worker.settings import WRITTEN, Spec
from worker.spec.checks import contradictions
from worker.spec.sentences import sentence
from worker.spec.testfile import TestFile, topics_of
from worker.spec.text import KeyPath, Tree, read
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
    tree = read(file, environ)
    spec = _validated(tree, Spec)
    problems = [tree.problem(path, text) for path, text in contradictions(spec)]
    if problems:
        raise BadConfiguration(_sorted(problems))
    return Document(str(file), spec, tree)


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
                documents.append(load(file, environ))
        except BadConfiguration as error:
            problems += error.problems
    return documents, problems


def _check_tests(file: Path, tree: Tree, environ: Mapping[str, str]) -> None:
    tests = _validated(tree, TestFile)
    spec = load(file.parent / tests.spec, environ).spec
    known = topics_of(spec)
    problems = [
        tree.problem(path, f"the spec does not name topic {topic!r}; it names {', '.join(known)}")
        for path, topic in tests.topics()
        if topic not in known
    ]
    if problems:
        raise BadConfiguration(_sorted(problems))


def _validated(tree: Tree, model: type[M]) -> M:
    problems = list(tree.problems)
    validated = None
    try:
        validated = model.model_validate(tree.value, context=WRITTEN)
    except ValidationError as error:
        known = {problem.path for problem in problems}
        found = [_problem(tree, model, dict(one)) for one in error.errors(include_url=False)]
        problems += [problem for problem in found if problem.path not in known]
    if problems or validated is None:
        raise BadConfiguration(_sorted(problems))
    return validated


def _problem(tree: Tree, model: type[BaseModel], error: dict[str, Any]) -> Problem:
    path = _written(tree, tuple(error["loc"]))
    secret = any(path[: len(hidden)] == hidden for hidden in tree.secret)
    return tree.problem(path, sentence(model, path, error, secret=secret))


def _written(tree: Tree, path: KeyPath) -> KeyPath:
    """The path as it stands in the file: keys given for all pipelines are passed on to each."""
    if path[:1] == ("pipelines",) and path not in tree.places and path[2:] in tree.places:
        return path[2:]
    return path


def _sorted(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column))
