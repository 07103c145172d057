"""What is asked before something changes that cannot be undone."""

from __future__ import annotations

import sys

import click

from worker.cli.terminal import is_terminal


def confirm(question: str, *, yes: bool, look: str) -> None:
    """Ask, unless `yes`; a no aborts. Where there is nobody to ask `look` says what shows more."""
    if yes:
        return
    if not is_terminal(sys.stdin):
        raise click.UsageError(f"there is nobody to ask: give --yes, or {look} to see the plan")
    click.confirm(question, abort=True, err=True)
