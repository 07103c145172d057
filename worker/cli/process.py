"""The body of each process of `worker run --processes`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

from worker.app import Options, build, longest_drain
from worker.cli.ending import leave
from worker.cli.failures import report
from worker.errors import WorkerError
from worker.observe import logs
from worker.processes.link import Link
from worker.settings.secrets import secrets_of
from worker.spec import Document


@dataclass(frozen=True, slots=True)
class Work:
    """What every process is started with: the spec as the supervisor has read it, and options."""

    document: Document
    only: tuple[str, ...]
    create_topics: bool
    path: tuple[str, ...]
    log_level: str
    log_format: logs.Format


def run(work: Work, index: int, connection: Connection) -> None:
    """Run the worker of a spec as one process of several."""
    secrets = secrets_of(work.document.spec)
    prepare = partial(logs.configure, work.log_level, work.log_format, index, secrets)
    prepare()
    link = Link(connection, longest_drain(work.document.spec, work.only))
    link.take_signals()
    options = Options(
        only=work.only,
        create_topics=work.create_topics,
        path=work.path,
        process=index,
        prepare=prepare,
    )
    try:
        worker = build(work.document, options)
        link.attach(worker)
        code = worker.run()
    except WorkerError as error:
        code = report(error)
    link.report()
    leave(code)
