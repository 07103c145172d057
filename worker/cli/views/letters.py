"""Dead letters as `worker dlq` prints them, for people and for programs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from worker.cli.views.tables import print_table
from worker.cli.views.values import age, moment, readable
from worker.flow.ledger import Entry
from worker.flow.letters import Letter
from worker.kafka.mover import Progress
from worker.kafka.written import as_json
from worker.observe.text import escaped
from worker.operate.deadletters import Plan, Survey

UNKNOWN: Final = "?"


def show_surveys(surveys: Sequence[Survey]) -> None:
    """Print what waits in dead-letter topics, and what has become of the rest."""
    now = time.time()
    kinds = [
        (
            escaped(survey.topic),
            escaped(reason or UNKNOWN),
            escaped(handler or UNKNOWN),
            f"{kind.number:,}",
            age(kind.oldest or 0, now),
        )
        for survey in surveys
        for (reason, handler), kind in sorted(survey.waiting.items(), key=lambda one: str(one[0]))
    ]
    if kinds:
        print_table(("topic", "reason", "handler", "waiting", "oldest"), kinds, texts=3)
        click.echo()
    totals = [
        (
            escaped(survey.topic),
            f"{sum(kind.number for kind in survey.waiting.values()):,}",
            *(f"{survey.settled[fate]:,}" for fate in ("redriven", "parked", "dropped")),
        )
        for survey in surveys
    ]
    print_table(("topic", "waiting", "redriven", "parked", "dropped"), totals, texts=1)


def value_of_surveys(surveys: Sequence[Survey]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "topic": survey.topic,
            "waiting": [
                {"reason": reason, "handler": handler, "count": k.number, "oldest": k.oldest}
                for (reason, handler), k in survey.waiting.items()
            ],
            **{fate: survey.settled[fate] for fate in ("redriven", "parked", "dropped")},
        }
        for survey in surveys
    ]


def show_letter(letter: Letter, entry: Entry | None) -> None:
    """Print a dead letter with all that it holds, as text that changes nothing on a terminal."""
    for line in _lines(letter, entry):
        click.echo(line)


def value_of_letter(letter: Letter, entry: Entry | None) -> dict[str, Any]:
    """A dead letter for programs; bytes that are no UTF-8 are written in base 64."""
    message = letter.message
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "writer": letter.writer,
        "origin": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
        },
        "group": letter.group,
        "handler": letter.handler,
        "reason": letter.reason,
        "error": letter.error,
        "message": letter.text,
        "attempts": letter.attempts,
        "redrives": letter.redrives,
        "failed": message.timestamp,
        "first_failure": letter.first_failure,
        "settled": None if entry is None else entry._asdict(),
        "key": as_json(message.key),
        "value": as_json(message.value),
        "headers": [[name, as_json(value)] for name, value in message.headers],
    }


def show_plan(plan: Plan, *, err: bool) -> None:
    """Print what would be moved and what cannot be."""
    rows = [
        (escaped(kind or UNKNOWN), move.fate, escaped(move.topic or ""), f"{number:,}")
        for (kind, move), number in plan.moves.items()
    ]
    if rows:
        print_table(("reason", "to be", "to", "messages"), rows, texts=3, err=err)
    else:
        click.echo(f"nothing to move in {escaped(plan.task.topic)}", err=err)
    _print_stays(plan.stays, err=err)


def value_of_plan(plan: Plan) -> dict[str, Any]:
    """The same for programs."""
    moves = [
        {"reason": kind, "fate": move.fate, "to": move.topic, "count": number}
        for (kind, move), number in plan.moves.items()
    ]
    return {"topic": plan.task.topic, "moves": moves, "stays": _counts(plan.stays)}


def show_progress(topic: str, progress: Progress) -> None:
    """Print what was moved and what was not."""
    for (fate, target), number in progress.moved.items():
        where = "" if target is None else f" to {escaped(target)}"
        click.echo(f"{escaped(topic)}: {number:,} {fate}{where}")
    if not progress.moved:
        click.echo(f"{escaped(topic)}: nothing was moved")
    _print_stays(progress.stayed, err=False)


def value_of_progress(topic: str, progress: Progress) -> dict[str, Any]:
    """The same for programs."""
    moved = [
        {"fate": fate, "to": target, "count": number}
        for (fate, target), number in progress.moved.items()
    ]
    return {"topic": topic, "moved": moved, "stays": _counts(progress.stayed)}


def _lines(letter: Letter, entry: Entry | None) -> Iterator[str]:
    message = letter.message
    why = " ".join(filter(None, (letter.reason, letter.error)))
    text = f": {letter.text}" if letter.text else ""
    yield escaped(f"{message.topic}[{message.partition}]@{message.offset} {why}{text}")
    about = {
        "from": f"{letter.topic}[{letter.partition}]@{letter.offset}" if letter.topic else None,
        "failed": moment(message.timestamp),
        "first": None if letter.first_failure is None else moment(letter.first_failure),
        "group": letter.group,
        "handler": letter.handler,
        "redrives": str(letter.redrives),
        "settled": None if entry is None else _fate(entry),
        "key": readable(message.key),
        "value": readable(message.value),
    }
    yield from (f"  {name:9}{escaped(value)}" for name, value in about.items() if value is not None)
    for name, value in message.headers:
        yield f"  {'header':9}{escaped(name)}: {escaped(readable(value) or 'null')}"


def _fate(entry: Entry) -> str:
    return entry.fate if entry.to is None else f"{entry.fate} to {entry.to}"


def _counts(stays: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"why": why, "count": number} for why, number in stays.items()]


def _print_stays(stays: Counter[str], *, err: bool) -> None:
    for why, number in stays.items():
        click.echo(f"{number:,} cannot be moved: {escaped(why)}", err=err)
