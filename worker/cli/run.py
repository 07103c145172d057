"""`worker run`: the long-running process."""

from __future__ import annotations

import os
from pathlib import Path

import click

from worker.app import Options, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.options import SETTINGS, log_options, only_option, path_option, spec_argument
from worker.observe import logs


@click.command("run", context_settings=SETTINGS)
@spec_argument()
@only_option()
@click.option(
    "--create-topics", is_flag=True, show_envvar=True, help="Make the topics that do not exist."
)
@path_option()
@log_options()
def command(
    spec: Path,
    only: tuple[str, ...],
    create_topics: bool,  # noqa: FBT001 - given by click by name
    path: tuple[Path, ...],
    log_level: str,
    log_format: logs.Format,
) -> None:
    """Run the pipelines of a spec until stopped.

    SIGTERM or SIGINT drains: what is in flight is finished and committed. A second one forces.

    \b
    Example:
      worker run config/flights.yaml --only delays,alerts --create-topics
    """  # noqa: D301 - click's own mark
    logs.configure(log_level, log_format)
    options = Options(only=only, create_topics=create_topics, path=[str(folder) for folder in path])
    worker = build(load(spec, os.environ, options, unreadable), options)
    with stopped_by_signals(worker):
        code = worker.run()
    leave(code)
