"""`worker init`: a new project."""

from __future__ import annotations

from pathlib import Path

import click

from worker.cli.options import SETTINGS
from worker.errors import WorkerError
from worker.observe.text import escaped
from worker.operate.project import flaw, project, taken, write


class NotWritten(WorkerError):
    """The files of a project could not be written."""


@click.command("init", context_settings=SETTINGS)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name",
    metavar="NAME",
    help="Name of the worker; by default that of the folder.",
)
def command(folder: Path, name: str | None) -> None:
    """Make a new project: spec, handler, test, image, chart values.

    What is there already is left as it is: where a file would be overwritten, none is written.

    \b
    Example:
      worker init greetings
    """
    chosen = folder.resolve().name if name is None else name
    why = flaw(chosen)
    if why is not None:
        hint = "" if name is not None else "; give another with --name"
        raise click.BadParameter(f"{why}{hint}", param_hint="--name" if name else "FOLDER")
    texts = project(chosen)
    there = taken(folder, texts)
    if there:
        text = f"nothing is written, since there is already {', '.join(there)}"
        raise click.BadParameter(text, param_hint="FOLDER")
    try:
        write(folder, texts)
    except OSError as error:
        raise NotWritten(
            f"{folder} cannot be written: {error.strerror}: {error.filename}"
        ) from error
    for path in texts:
        click.echo(escaped(str(folder / path)))
    click.echo(f"\nNext: see {escaped(str(folder / 'README.md'))}", err=True)
