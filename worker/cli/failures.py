"""From errors to messages and exit codes: the only place for it."""

from __future__ import annotations

from typing import Final

import click

from worker.cli.exit_codes import BAD_CONFIGURATION, FAILED, FATAL, UNREACHABLE
from worker.errors import (
    BadConfiguration,
    BadEnvironment,
    BrokersUnreachable,
    BrokerUnavailable,
    CannotListen,
    ClientFatal,
    ConnectionFailed,
    Fenced,
    NoWorker,
    WorkerError,
)
from worker.observe.logs import redaction
from worker.observe.text import escaped

CODES: Final = (
    (BadConfiguration, BAD_CONFIGURATION),
    (BadEnvironment, BAD_CONFIGURATION),
    (CannotListen, BAD_CONFIGURATION),
    (BrokersUnreachable, UNREACHABLE),
    (ConnectionFailed, UNREACHABLE),
    (BrokerUnavailable, UNREACHABLE),
    (NoWorker, UNREACHABLE),
    (ConnectionFailed, UNREACHABLE),
    (ClientFatal, FATAL),
    (Fenced, FATAL),
    (WorkerError, FAILED),
)
"""The exit code of each kind of error; the first that fits counts."""


def report(error: WorkerError) -> int:
    """Print an error as a user sees it, each problem in a line of its own; returns its code.

    The secrets that are kept out of the log are kept out of it, too.
    """
    of_spec, redacted = isinstance(error, BadConfiguration), redaction()
    lead = "" if of_spec else "Error: "
    text = redacted.of_known(str(error)) if of_spec else redacted(str(error))
    for line in text.splitlines():
        click.echo(lead + escaped(line), err=True)
        lead = ""
    return next(code for kind, code in CODES if isinstance(error, kind))
