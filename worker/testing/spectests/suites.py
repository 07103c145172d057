"""Files of tests: found, and run together where they are of one spec."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worker.app import Options, check
from worker.errors import BadConfiguration
from worker.spec import Suite, in_order, survey_tests
from worker.testing.spectests.gathering import all_given
from worker.testing.spectests.running import Result, SpecTests
from worker.types import Problem

BESIDE: Final = ".test"
"""What the name of a file of tests has before its ending, beside the spec `name.yaml`."""
ENDINGS: Final = (".yaml", ".yml")

_TESTS: Final = re.compile(rb"^tests[ \t]*:", re.MULTILINE)


@dataclass(slots=True)
class Ran:
    """What has come of some files of tests."""

    results: list[Result] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Why some could not run."""
    files: set[str] = field(default_factory=set)
    """What they depend on."""


def files_of_tests(paths: Iterable[Path]) -> list[Path]:
    """The files with tests: those given, those beside specs that are, and all in folders.

    Of folders those are left out whose name, or that of a folder there, begins with a dot.
    """
    found = [file for path in paths for file in _files(path)]
    return list(dict.fromkeys(found))


def by_spec(
    files: Iterable[Path], environ: Mapping[str, str]
) -> tuple[list[list[Path]], list[Problem]]:
    """The files of each spec together; and the problems of those whose spec cannot be told."""
    groups: dict[Path, list[Path]] = {}
    problems: list[Problem] = []
    for file in files:
        suite, found = survey_tests(file, environ)
        if suite is None:
            problems += found
        else:
            groups.setdefault(Path(suite.document.file).resolve(), []).append(file)
    return list(groups.values()), problems


def run(
    files: Sequence[Path],
    environ: Mapping[str, str],
    path: Sequence[str],
    wanted: str,
    tell: Callable[[Result], object] = lambda _result: None,
) -> Ran:
    """Run tests of one spec whose names have a text in them; tells of each when it has run.

    What handlers print goes to standard error.
    """
    ran, options = Ran(), Options(path=path, draw=lambda: 0.0)
    for file in files:
        try:
            suite, tests = _prepared(file, environ, options)
        except BadConfiguration as error:
            ran.problems += error.problems
            continue
        ran.files |= _records(suite)
        for name in suite.tests:
            if wanted.lower() in name.lower():
                with redirect_stdout(sys.stderr):
                    result = tests.run(name)
                ran.results.append(result)
                tell(result)
    ran.files |= {*_modules([Path.cwd(), *map(Path, path)])}
    return ran


def _prepared(file: Path, environ: Mapping[str, str], options: Options) -> tuple[Suite, SpecTests]:
    """Tests that can be run; raises `BadConfiguration` with every problem of any kind."""
    suite, problems = survey_tests(file, environ)
    if suite is None:
        raise BadConfiguration(problems)
    with redirect_stdout(sys.stderr):
        wrong = check(suite.document, options)
        try:
            tests = None if wrong else SpecTests(suite, options)
        except BadConfiguration as error:
            told = {problem.path for problem in problems}
            wrong, tests = [one for one in error.problems if one.path not in told], None
    if tests is None or problems:
        raise BadConfiguration(sorted(in_order([*problems, *wrong]), key=lambda one: one.file))
    return suite, tests


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        inside = (file for file in sorted(path.rglob("*")) if file.suffix in ENDINGS)
        yield from (one for one in inside if not _is_hidden(one, path) and has_tests(one))
        return
    beside = path.with_name(f"{path.stem}{BESIDE}{path.suffix}")
    if has_tests(path) or not beside.is_file():
        yield path
    if beside.is_file():
        yield beside


def _is_hidden(file: Path, folder: Path) -> bool:
    """Whether a file, or a folder that it is in below this one, is none of the project's own."""
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def has_tests(file: Path) -> bool:
    """Whether a file looks as if it had tests of a spec."""
    return file.is_file() and _TESTS.search(file.read_bytes()) is not None


def _records(suite: Suite) -> set[str]:
    """The files that a suite reads."""
    given = (records for _, by_topic in all_given(suite) for records in by_topic.values())
    files = (record.file for records in given for record in records)
    inside = {str(suite.folder / file) for file in files if file is not None}
    return {suite.tree.file, suite.document.file, *inside}


def _modules(folders: Sequence[Path]) -> Iterator[str]:
    """The files of modules of users that were imported."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is not None and "site-packages" not in file:
            yield from [file] if any(map(Path(file).is_relative_to, folders)) else []
