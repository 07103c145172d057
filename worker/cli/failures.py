"""From errors to messages and exit codes: the only place for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

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
from worker.observe.text import escaped

if TYPE_CHECKING:
    from worker.flow.redaction import Redaction

CODES: Final = (
    (BadConfiguration, BAD_CONFIGURATION),
    (BadEnvironment, BAD_CONFIGURATION),
    (CannotListen, BAD_CONFIGURATION),
    (BrokersUnreachable, UNREACHABLE),
    (ConnectionFailed, UNREACHABLE),
    (BrokerUnavailable, UNREACHABLE),
    (NoWorker, UNREACHABLE),
    (ClientFatal, FATAL),
    (Fenced, FATAL),
    (WorkerError, FAILED),
)
"""The exit code of each kind of error; the first that fits counts."""


def report(error: WorkerError) -> int:
    """Print an error as a user sees it, each problem in a line of its own; returns its code.

    The secrets that are kept out of the log are kept out of it, too.
    """
    lead = "" if isinstance(error, BadConfiguration) else "Error: "
    for line in _without_secrets(error).splitlines():
        click.echo(lead + escaped(line), err=True)
        lead = ""
    return next(code for kind, code in CODES if isinstance(error, kind))


def _without_secrets(error: WorkerError) -> str:
    logs = sys.modules.get("worker.observe.logs")
    if logs is None:  # so nothing is known of any spec
        return str(error)
    redacted: Redaction = logs.redaction()
    hidden = redacted.of_known if isinstance(error, BadConfiguration) else redacted
    return hidden(str(error))
