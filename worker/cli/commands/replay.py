"""`worker replay`: a handler is given a real record, here and now."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from worker.app import Options, load, unreadable
from worker.cli.completion import HANDLERS, PIPELINES
from worker.cli.debugging import Debugging
from worker.cli.exit_codes import FAILED
from worker.cli.opening import made_of
from worker.cli.options import (
    SETTINGS,
    Output,
    log_options,
    output_option,
    path_option,
    spec_option,
)
from worker.cli.spot import Spot
from worker.cli.terminal import is_terminal
from worker.cli.views import rehearsals as views
from worker.cli.views.values import print_value
from worker.errors import WorkerError
from worker.flow.life import Place
from worker.observe import logs
from worker.operate.replaying import Line, replay_of
from worker.settings.secrets import secrets_of

LEFT: Final = "it was ended before the handler was through"


_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class Captured(click.ParamType[Line]):
    """A line of a file."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Line:
        """Parse `captured.jsonl` or `captured.jsonl:3`."""
        if isinstance(value, Line):
            return value
        file, colon, number = str(value).rpartition(":")
        if colon and number.isdecimal() and not Path(value).exists():
            return Line(Path(_FILE.convert(file, param, ctx)), int(number))
        return Line(Path(_FILE.convert(value, param, ctx)), None)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The files."""
        return _FILE.shell_complete(ctx, param, incomplete)


@click.command("replay", context_settings=SETTINGS)
@click.argument("place", type=Spot(), required=False, metavar="[TOPIC/PARTITION/OFFSET]")
@click.option(
    "--file",
    "line",
    type=Captured(),
    metavar="FILE[:LINE]",
    help="Take the record from this line of a file that `worker capture` has written, by default "
    "the first; no cluster is needed.",
)
@spec_option("The spec: the cluster, the pipelines and their handlers.")
@click.option(
    "--handler",
    shell_complete=HANDLERS,
    metavar="NAME",
    help="Give it to this handler; by default to that of the pipeline.",
)
@click.option(
    "--pipeline",
    shell_complete=PIPELINES,
    metavar="NAME",
    help="As this pipeline would; by default the one that reads the topic.",
)
@click.option("--debug", is_flag=True, help="Open pdb where the handler raises.")
@click.option("--step", is_flag=True, help="Open pdb at the first line of the handler.")
@path_option()
@log_options()
@output_option()
def command(
    place: Place | None,
    line: Line | None,
    spec: Path,
    handler: str | None,
    pipeline: str | None,
    debug: bool,
    step: bool,
    path: Sequence[str],
    log_level: str,
    log_format: logs.Format,
    output: Output,
) -> None:
    """Give a real record to a handler, here and now, and tell what would become of it.

    It is decoded, handled and encoded as the worker does it, with its resources, and in this
    process. Nothing is sent and nothing committed, but what the handler itself does is done. A
    dead letter is given as it is once it was redriven. The exit code is 1 unless it is handled.
    It needs a spec, whose pipelines have the handlers.

    \b
    Example:
      worker replay flights.dlq/1/9 --spec config/flights.yaml --debug
      worker replay --file tests/flights.jsonl:3 --spec config/flights.yaml
    """
    where = place or line
    if where is None or None not in (place, line):
        raise click.UsageError("give TOPIC/PARTITION/OFFSET, or a record in a file with --file")
    logs.configure("warning", log_format)
    if (debug or step) and not is_terminal(sys.stdin):
        raise click.UsageError(
            "--debug and --step need a terminal: the debugger takes its commands from there"
        )
    options = Options(path=path)
    document = load(spec, os.environ, options, unreadable)
    found = made_of(document, lambda one: replay_of(one, options, where, pipeline, handler))
    logs.configure(log_level, log_format, secrets=secrets_of(document.spec))
    if output == "table":
        views.show_given(found)
    debugging = Debugging(at_error=debug, at_start=step)
    if debug or step:
        found = found.unhurried()
    with nullcontext() if debug or step else redirect_stdout(sys.stderr):
        done = found.run(options, debugging.around, debugging.stage)
    if debugging.was_left:
        raise WorkerError(LEFT)
    if output == "table":
        views.show(found, done, debugging.raised)
    else:
        print_value(views.value_of(found, done), output)
    if not views.is_handled(done):
        sys.exit(FAILED)
