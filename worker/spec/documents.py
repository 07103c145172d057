"""Specs and files of tests, loaded from text and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worker.errors import BadConfiguration
from worker.settings import WRITTEN, ItemProblems, Lifecycle, Spec, SpecTest, TestFile
from worker.spec.checks import contradictions
from worker.spec.pruning import Pruning, as_written, lacks
from worker.spec.sentences import sentence
from worker.spec.testfile import is_file, mistakes
from worker.spec.text import read
from worker.spec.tree import KeyPath, Tree
from worker.types import Problem

M = TypeVar("M", bound=BaseModel)
ByPath = Mapping[KeyPath, Sequence[ErrorDetails]]


@dataclass(frozen=True, slots=True)
class Document:
    """A spec and where its keys stand."""

    file: str
    spec: Spec
    tree: Tree
    taken: frozenset[KeyPath] = frozenset()
    """Keys that were taken out of the spec, since what stands there is a mistake."""

    def problem(self, path: Sequence[str | int], text: str) -> Problem:
        """A mistake at a key of the spec, or at the nearest one above it that the file has."""
        return self.tree.problem(as_written(self.taken, tuple(path)), text)

    def lacks(self, *path: str | int) -> bool:
        """Whether a key was taken out, so that nothing can be said of it."""
        return lacks(self.taken, path)


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests of a spec, and where their keys stand."""

    document: Document
    """The spec under test."""
    tests: Mapping[str, SpecTest]
    tree: Tree
    """Of the file with the tests, be it the spec itself."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """Those that are replaced in all tests."""
    taken: frozenset[KeyPath] = frozenset()
    """Keys that were taken out of the tests, since what stands there is a mistake."""

    @property
    def folder(self) -> Path:
        """What files of records are relative to."""
        return Path(self.tree.file).parent

    def problem(self, path: KeyPath, text: str) -> Problem:
        """Something that is wrong at a key, or at the nearest one above it that the file has."""
        return self.tree.problem(as_written(self.taken, path), text)

    def lacks(self, path: KeyPath) -> bool:
        """Whether a key was taken out, so that nothing can be said of it."""
        return lacks(self.taken, as_written(self.taken, path))

    def mistakes(self) -> list[Problem]:
        """What of the tests cannot work with the spec."""
        found = mistakes(self.document.spec, self.tests, self.folder)
        return [self.problem(path, text) for path, text in found]


def load_tests(file: Path, environ: Mapping[str, str]) -> Suite:
    """Load the tests of a file beside a spec, or those in a spec; raises `BadConfiguration`."""
    suite, problems = survey_tests(file, environ)
    if suite is None or problems:
        raise BadConfiguration(problems)
    return suite


def survey_tests(file: Path, environ: Mapping[str, str]) -> tuple[Suite | None, list[Problem]]:
    """Load tests so far as they are legal, for further checks; and every problem of their text."""
    try:
        tree = read(file, environ)
    except BadConfiguration as error:
        return None, list(error.problems)
    if _holds_tests_only(tree):
        return _with_spec(file, tree, environ)
    return _with_tests(tree)


def load(file: Path, environ: Mapping[str, str]) -> Document:
    """Load a spec; raises `BadConfiguration` with every problem, in the order of the lines."""
    document, problems = survey(file, environ)
    if document is None or problems:
        raise BadConfiguration(problems)
    return document


def survey(file: Path, environ: Mapping[str, str]) -> tuple[Document | None, list[Problem]]:
    """Load a spec so far as it is legal, for further checks; and every problem of its text."""
    try:
        return _surveyed(read(file, environ))
    except BadConfiguration as error:
        return None, list(error.problems)


def check(
    files: Sequence[Path], environ: Mapping[str, str]
) -> tuple[list[Document], list[Problem]]:
    """Survey specs and files of tests, told apart by the key `tests`; all problems of all files."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in files:
        try:
            document, found = _checked(file, environ)
        except BadConfiguration as error:
            document, found = None, list(error.problems)
        problems += found
        if document is not None:
            documents.append(document)
    return documents, problems


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """The problems of a file, each once, in the order of the lines."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.line, p.column))


def _checked(file: Path, environ: Mapping[str, str]) -> tuple[Document | None, list[Problem]]:
    tree = read(file, environ)
    if _holds_tests_only(tree):
        return None, _with_spec(file, tree, environ)[1]
    suite, problems = _with_tests(tree)
    return None if suite is None else suite.document, problems


def _holds_tests_only(tree: Tree) -> bool:
    return "tests" in tree.value and "pipelines" not in tree.value


def _surveyed(tree: Tree) -> tuple[Document | None, list[Problem]]:
    spec, pruning, problems = _validated(tree, Spec)
    if spec is None:
        return None, in_order(problems)
    spec.keep_secret(tree.contents())
    document = Document(tree.file, spec, tree, frozenset(pruning.taken))
    problems += [
        document.problem(path, text)
        for path, text in contradictions(spec)
        if not pruning.explains(path[:-1], text)
    ]
    return document, in_order(problems)


def _with_tests(tree: Tree) -> tuple[Suite | None, list[Problem]]:
    """A spec with its tests so far as they are legal, and every problem of the file."""
    document, problems = _surveyed(tree)
    if document is None:
        return None, problems
    suite = Suite(document, document.spec.tests, tree, taken=document.taken)
    return suite, in_order([*problems, *suite.mistakes()])


def _with_spec(
    file: Path, tree: Tree, environ: Mapping[str, str]
) -> tuple[Suite | None, list[Problem]]:
    """A file of tests with its spec, if that loads; and every problem of the file."""
    tests, pruning, problems = _validated(tree, TestFile)
    if tests is None:
        return None, in_order(problems)
    try:
        document = _spec_of(file, tree, tests, environ)
    except BadConfiguration as error:
        return None, in_order([*problems, *error.problems])
    suite = Suite(document, tests.tests, tree, tests.resources, frozenset(pruning.taken))
    return suite, in_order([*problems, *suite.mistakes()])


def _spec_of(file: Path, tree: Tree, tests: TestFile, environ: Mapping[str, str]) -> Document:
    target = file.parent / tests.spec
    if not is_file(target):
        words = f"{tests.spec!r} is no file; legal is the path of a spec, relative to this file"
        raise BadConfiguration([tree.problem(("spec",), words)])
    try:
        return load(target, {**environ, **tests.environment})
    except BadConfiguration as error:
        count = len(error.problems)
        words = f"{tests.spec!r} does not load; the first of its problems ({count}) is "
        raise BadConfiguration([tree.problem(("spec",), f"{words}{error.problems[0]}")]) from None


def _validated(tree: Tree, model: type[M]) -> tuple[M | None, Pruning, list[Problem]]:
    """What the file holds without its mistakes, if anything, and the mistakes."""
    problems = list(tree.problems)
    pruning = Pruning(tree.value, model, tree.faulty)
    while True:
        try:
            return _legal(model, pruning.value), pruning, problems
        except ValidationError as error:
            by_path = _by_path(tree, pruning, error)
        problems += _explained(tree, model, pruning, by_path)
        if not _pruned(pruning, by_path):
            return None, pruning, problems


def _legal(model: type[M], value: Any) -> M:
    return model.model_validate(value, context=WRITTEN, by_alias=True, by_name=False)


def _by_path(
    tree: Tree, pruning: Pruning, error: ValidationError
) -> dict[KeyPath, list[ErrorDetails]]:
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for found in error.errors(include_url=False):
        by_path.setdefault(_written(tree, pruning, found), []).append(found)
    return by_path


def _explained(
    tree: Tree, model: type[BaseModel], pruning: Pruning, by_path: ByPath
) -> list[Problem]:
    return [
        tree.problem(place, text)
        for path, found in by_path.items()
        for place, text in _sentences(tree, model, path, found)
        if not pruning.explains(path, text)
    ]


def _pruned(pruning: Pruning, by_path: ByPath) -> bool:
    """Take the mistakes out, those within others first; whether anything was left to take."""
    changed = [_take_out(pruning, path, by_path[path][0]) for path in sorted(by_path, reverse=True)]
    return True in changed


def _take_out(pruning: Pruning, path: KeyPath, error: ErrorDetails) -> bool:
    items = _items(error)
    if items:
        return True in [pruning.take_out((*path, key)) for key in items]
    if error["type"] == "extra_forbidden":
        return pruning.take_out_unknown(path)
    if error["type"] == "value_error":
        return pruning.settle(path)
    return pruning.take_out(path)


def _sentences(
    tree: Tree, model: type[BaseModel], path: KeyPath, found: Sequence[ErrorDetails]
) -> Iterable[tuple[KeyPath, str]]:
    items = _items(found[0])
    if items:
        return [((*path, key), text) for key, text in items.items()]
    return [(path, sentence(model, path, found, tree))]


def _items(error: ErrorDetails) -> Mapping[str, str]:
    """Mistakes in a mapping, by their keys, where a validator has found several."""
    cause = error.get("ctx", {}).get("error")
    return cause.problems if isinstance(cause, ItemProblems) else {}


def _written(tree: Tree, pruning: Pruning, error: ErrorDetails) -> KeyPath:
    """The path as it stands in the file.

    Keys for all pipelines are passed on to each; names of a union's members and the mark of a key
    follow the path that was written.
    """
    path: KeyPath = error["loc"]
    if path[:1] == ("pipelines",) and path not in tree.places and path[2:3] in _SHARED:
        path = path[2:]
    path = as_written(pruning.taken, path)
    return path if error["type"] == "missing" else tree.deepest(path)


_SHARED = {(name,) for name in Lifecycle.model_fields}
