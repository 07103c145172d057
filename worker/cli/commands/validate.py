"""`worker validate`: every mistake of some files at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click

from worker import app
from worker.cli.apart import apart
from worker.cli.exit_codes import BAD_CONFIGURATION, OK
from worker.cli.options import SETTINGS, Output, output_option, path_option
from worker.cli.views.values import print_value, value_of_problem
from worker.errors import BadConfiguration
from worker.spec import check, in_order
from worker.types import Problem


@click.command("validate", context_settings=SETTINGS)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILES...",
)
@path_option()
@output_option()
def command(files: tuple[Path, ...], path: tuple[str, ...], output: Output) -> None:
    """Check specs and files of tests.

    Prints the files that are fine; problems go to standard error, one a line, as
    `file:line:column: path: what is wrong, what is legal`, and the exit code is 78. For programs
    the problems are what is printed.

    \b
    Example:
      worker validate config/*.yaml
    """
    found = _problems(files[0], path) if len(files) == 1 else _problems_apart(files, path)
    if output != "table":
        print_value([*map(value_of_problem, found)], output)
        sys.exit(BAD_CONFIGURATION if found else OK)
    wrong = {problem.file for problem in found}
    for file in files:
        if str(file) not in wrong:
            click.echo(f"{file}: ok")
    if found:
        raise BadConfiguration(found)


def _problems(file: Path, path: Sequence[str]) -> list[Problem]:
    documents, problems = check([file], os.environ)
    for document in documents:
        problems += app.check(document, app.Options(path=path))
    return in_order(problems)


def _problems_apart(files: Sequence[Path], path: Sequence[str]) -> list[Problem]:
    found: list[Problem] = []
    for file in files:
        try:
            found += apart(_problems, file, path)
        except BrokenProcessPool:
            words = "a module of its handlers ends the process when it is imported"
            found.append(Problem(str(file), 1, 1, "handlers", words))
    return found
