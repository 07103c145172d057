"""What commands make of the cluster that a spec names, without its handlers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from worker.app import no_client, unreadable
from worker.errors import BadConfiguration, ConnectionFailed
from worker.observe import logs
from worker.settings.secrets import secrets_of
from worker.spec import Document, load

Opened = TypeVar("Opened")


def opened(file: Path, make: Callable[[Document], Opened]) -> Opened:
    """What `make` makes of a spec; its handlers are not looked at.

    Warnings go to the log without the spec's secrets. Raises `BadConfiguration`.
    """
    return made_of(load(file, os.environ), make)


def made_of(document: Document, make: Callable[[Document], Opened]) -> Opened:
    """The same of a spec that is loaded."""
    logs.configure("warning", "auto", secrets=secrets_of(document.spec))
    problems = unreadable(document)
    if problems:
        raise BadConfiguration(problems)
    try:
        return make(document)
    except ConnectionFailed as error:
        raise no_client(document, error) from error
