"""Times, bytes and values as commands show them, to people and to programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import click

from worker.cli.options import Output
from worker.spec import as_yaml
from worker.types import Problem

LONGEST: Final = 2_000
"""Characters of a payload, a key or a header that are shown to people."""

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def age(milliseconds: int, now: float) -> str:
    """How long ago that was, in the largest unit that it fills: 3d, 4h, 12m, 8s."""
    seconds = max(0, round(now - milliseconds / 1000))
    unit, size = next((u for u in _UNITS if seconds >= u[1]), _UNITS[-1])
    return f"{seconds // size}{unit}"


def moment(milliseconds: int) -> str:
    """The time in UTC; the number where it is none that a calendar has."""
    try:
        time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return time.isoformat(timespec="seconds")


def readable(value: bytes | None) -> str | None:
    """Bytes for people, as far as they are not too long; not escaped yet."""
    if value is None:
        return None
    text = value.decode("utf-8", "backslashreplace")
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}... ({len(value):,} bytes; all with --output json)"


def value_of_problem(problem: Problem) -> dict[str, Any]:
    """Something that is wrong in a file, for programs."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.text,
    }


def print_value(value: Any, output: Output) -> None:
    """Print for programs: a line of JSON or a YAML document.

    In ASCII, which no terminal takes for an order.
    """
    click.echo(as_yaml(value) if output == "yaml" else json.dumps(value))
