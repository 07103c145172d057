"""`worker run`: the long-running process."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from worker.app import Options, build, load, supervise, unreadable
from worker.cli import process
from worker.cli.ending import hangups_survived, leave, stopped_by_signals
from worker.cli.options import SETTINGS, log_options, only_option, path_option, spec_argument
from worker.engine.worker import Worker
from worker.observe import logs
from worker.processes.supervisor import Supervisor
from worker.settings.secrets import secrets_of
from worker.settings.values import address
from worker.spec import Document, survey

MOST_PROCESSES: Final = 128

Address = tuple[str, int]
"""Host and port."""


class Listen(click.ParamType[Address]):
    """Where the endpoint listens."""

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """Split; what is no address is an error."""
        try:
            return address(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("run", context_settings=SETTINGS)
@spec_argument()
@only_option()
@click.option(
    "--create-topics", is_flag=True, show_envvar=True, help="Make the topics that do not exist."
)
@click.option(
    "--processes",
    type=click.IntRange(1, MOST_PROCESSES),
    default=1,
    metavar="N",
    show_envvar=True,
    help="Processes that share the partitions, for handlers that need more than one core.",
)
@click.option(
    "--listen",
    type=Listen(),
    metavar="HOST:PORT",
    show_envvar=True,
    help="Where the HTTP endpoint listens, instead of where the spec says; port 0 switches it off.",
)
@path_option()
@log_options()
def command(
    spec: Path,
    only: tuple[str, ...],
    create_topics: bool,
    processes: int,
    listen: Address | None,
    path: tuple[str, ...],
    log_level: str,
    log_format: logs.Format,
) -> None:
    """Run the pipelines of a spec until stopped.

    SIGTERM or SIGINT drains: what is in flight is finished and committed. A second one forces.

    \b
    Example:
      worker run config/flights.yaml --only delays,alerts --create-topics
    """
    logs.configure(log_level, log_format)
    options = Options(only=only, create_topics=create_topics, path=path)
    read = _read if processes > 1 else _load
    document = _listening(read(spec, options), listen)
    secrets = secrets_of(document.spec)
    prepare = partial(logs.configure, log_level, log_format, secrets=secrets)
    prepare()
    worker: Worker | Supervisor
    if processes == 1:
        worker = build(document, replace(options, prepare=prepare))
    else:
        work = process.Work(document, only, create_topics, path, log_level, log_format)
        worker = supervise(document.spec, only, processes, partial(process.run, work))
    with stopped_by_signals(worker), hangups_survived(worker):
        code = worker.run()
    leave(code)


def _load(spec: Path, options: Options) -> Document:
    return load(spec, os.environ, options, unreadable)


def _read(spec: Path, options: Options) -> Document:
    """Read a spec without its handlers, which only processes that call them import.

    Where the text is wrong already, everything else that is wrong is told with it.
    """
    document, problems = survey(spec, os.environ)
    if document is None or problems:
        return _load(spec, options)
    return document


def _listening(document: Document, where: Address | None) -> Document:
    """The same spec with its endpoint elsewhere."""
    if where is None:
        return document
    host, port = where
    spec = document.spec
    server = spec.server.model_copy(update={"host": host, "port": port})
    return replace(document, spec=spec.model_copy(update={"server": server}))
