"""The command `worker`: parse, call, print."""

from __future__ import annotations

from worker.cli.group import main

__all__ = ["main"]
