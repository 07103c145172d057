"""`worker validate`: every mistake of some files at once."""

from __future__ import annotations

import os
from pathlib import Path

import click

from worker import app
from worker.cli.options import SETTINGS, path_option
from worker.errors import BadConfiguration
from worker.spec import check


@click.command("validate", context_settings=SETTINGS)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILES...",
)
@path_option()
def command(files: tuple[Path, ...], path: tuple[Path, ...]) -> None:
    """Check specs and files of tests.

    Prints the files that are fine; problems go to standard error, one a line, as
    `file:line:column: path: what is wrong, what is legal`, and the exit code is 78.

    \b
    Example:
      worker validate config/*.yaml
    """  # noqa: D301 - click's own mark
    options = app.Options(path=[str(folder) for folder in path])
    documents, problems = check(files, os.environ)
    for document in documents:
        problems += app.check(document, options)
    order = [str(file) for file in files]
    problems.sort(key=lambda problem: (order.index(problem.file), problem.line, problem.column))
    wrong = {problem.file for problem in problems}
    for file in files:
        if str(file) not in wrong:
            click.echo(f"{file}: ok")
    if problems:
        raise BadConfiguration(problems)
