"""What would become of a record, as `worker replay` prints it, for people and for programs."""

from __future__ import annotations

import os
import time
import traceback
from itertools import dropwhile
from pathlib import Path
from typing import Any, Final

import click

from worker.app import Rehearsed
from worker.cli.views.records import lines_of_record, lines_of_sent, value_of_record, value_of_sent
from worker.engine.settlement import Postponed
from worker.flow.later import history_of
from worker.flow.life import MISSING
from worker.observe.text import escaped
from worker.operate.replaying import Replay
from worker.types import DeadLetter, Done, Encoded, Failed, Failure, Message, RetryLater, Skip, Stop

_OURS: Final = str(Path(__file__).parents[2]) + os.sep


def show_given(found: Replay) -> None:
    """Print the record as the handler is given it, and what is special about it."""
    message = Message(found.raw)
    pipeline = found.spec.pipelines[found.pipeline]
    for line in lines_of_record(message, "auto"):
        click.echo(line)
    before = history_of(message).attempts
    failed = f", which has failed {before:,} times before" if before else ""
    click.echo(escaped(f"to {pipeline.handler}, as pipeline {found.pipeline} gives it{failed}"))
    if found.hidden is not None:
        click.echo(f"its pipeline would not see it: {MISSING[found.hidden]}", err=True)
    if found.damaged is not None:
        click.echo(
            escaped(f"this dead letter lacks what its message had: {found.damaged}"), err=True
        )
    if found.absent:
        click.echo(escaped(f"not there yet: {', '.join(found.absent)}"), err=True)


def show(found: Replay, done: Rehearsed, raised: BaseException | None) -> None:
    """Print what became of it, and what would be sent."""
    if isinstance(done.outcome, Failed) and raised is not None:
        for line in _traceback(raised):
            click.echo(escaped(line), err=True)
    click.echo()
    click.echo(escaped(f"{_sentence(done)}, after {done.seconds * 1000:,.1f} ms"))
    _show_records(done)
    if done.finally_ is not None:
        times = f"if all {done.attempts:,} attempts fail like this one"
        click.echo(escaped(f"{times}: {_fate(done.finally_)}"))
        _show_records(done.finally_)
    timeout = found.spec.pipelines[found.pipeline].timeout
    if timeout is not None and done.seconds > timeout:
        click.echo(f"that is longer than its timeout of {timeout:g} s", err=True)


def value_of(found: Replay, done: Rehearsed) -> dict[str, Any]:
    """The same for programs."""
    message = Message(found.raw)
    return {
        "message": value_of_record(message, "auto"),
        "pipeline": found.pipeline,
        "handler": found.spec.pipelines[found.pipeline].handler,
        "failed_before": history_of(message).attempts,
        "seconds": done.seconds,
        **_value(done),
        "finally": None if done.finally_ is None else _value(done.finally_),
    }


def _traceback(error: BaseException) -> list[str]:
    """The lines of its traceback, which begins in code of users."""
    told = traceback.TracebackException.from_exception(error)
    theirs = [*dropwhile(lambda frame: frame.filename.startswith(_OURS), told.stack)]
    told.stack[:] = theirs
    lines = told.format() if theirs else told.format_exception_only()
    return "".join(lines).rstrip("\n").split("\n")


def is_handled(done: Rehearsed) -> bool:
    """Whether the handler has handled it."""
    return isinstance(done.settled, (Encoded, Done))


def _value(done: Rehearsed) -> dict[str, Any]:
    failure = _failure(done)
    return {
        "became": _became(done),
        "failure": None
        if failure is None
        else {"reason": failure.reason, "error": failure.error, "text": failure.text},
        "due_in": _due_in(done),
        "records": [value_of_sent(record, "auto") for record in done.records],
    }


def _became(done: Rehearsed) -> str:
    match done.settled:
        case Postponed():
            return "tried_again"
        case RetryLater():
            return "moved"
        case DeadLetter():
            return "dead_lettered"
        case Skip():
            return "skipped"
        case Stop():
            return "stopped"
        case _:
            return "handled"


def _failure(done: Rehearsed) -> Failure | None:
    return done.outcome.failure if isinstance(done.outcome, Failed) else None


def _sentence(done: Rehearsed) -> str:
    failure = _failure(done)
    if failure is None:
        number = len(done.records)
        return f"handled: {number:,} results" if number != 1 else "handled: 1 result"
    why = " ".join(filter(None, (failure.reason, failure.error)))
    text = f": {failure.text}" if failure.text else ""
    return f"failed: {why}{text}; {_fate(done)}"


def _fate(done: Rehearsed) -> str:
    """What becomes of one that has failed."""
    due = _due_in(done)
    match done.settled:
        case Postponed():
            return f"tried again {'soon' if due is None else f'in {due:,.2f} s'}"
        case RetryLater(record):
            return f"moved to {record.topic}"
        case DeadLetter():
            return f"a dead letter in {done.records[0].topic}"
        case Skip():
            return "skipped"
        case _:
            return "the pipeline stops in front of it"


def _due_in(done: Rehearsed) -> float | None:
    """Seconds until it is tried again where it is."""
    if isinstance(done.settled, Postponed) and done.settled.due is not None:
        return max(0.0, done.settled.due - time.monotonic())
    return None


def _show_records(done: Rehearsed) -> None:
    for record in done.records:
        for line in lines_of_sent(record, "auto"):
            click.echo(line)
