"""Lives of messages as `worker explain` prints them, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from worker.cli.views.tables import print_table
from worker.cli.views.values import moment, readable
from worker.flow import headers
from worker.flow.life import MISSING, Missing, Place, Standing, State, Step, place_of
from worker.kafka.written import as_json
from worker.observe.text import escaped
from worker.operate.explanation import Explanation, Told

UNSEEN: Final[frozenset[Missing | None]] = frozenset({"ahead", "open", "aborted", "gap"})
"""What is so is given to no handler."""

STATES: Final[dict[State, str]] = {
    "finished": "finished, at {place}: {results}",
    "unfinished": "not finished, at {place}: {in_front:,} offsets are in front of it",
    "not_begun": "not finished, at {place}: its group has committed nothing of that partition",
    "waits": "waits at {place} for another attempt, due in {seconds:,.0f} s",
    "dead": "a dead letter at {place}, which waits: see `worker dlq`",
    "parked": "parked, from {place}",
    "dropped": "dropped: no command moves the dead letter at {place} any more",
    "redriven": "redriven from {place}, to where it is not found",
}
"""Where a message has come to."""
NEXT: Final = "not finished, at {place}: it is the next one, at work, or waits to be tried again"
SUSPECT: Final = "may have ended the worker: it is tried alone, at {place}"
UNKNOWN: Final = (
    "not known: its group is done with it at {place}, and what it went to may lie in {unread}, "
    "not all of which was read"
)
NO_RESULT: Final = "no result found; its handler gave none, or nothing tells of it"

COLUMNS: Final = ("what", "where", "why", "when", "after", "attempts", "took")
HAPPENED: Final = {
    "failed": "first failure",
    "moved": "to be tried again",
    "followed": "follows its lane",
    "dead_lettered": "dead letter",
    "sent_again": "sent again",
}
"""Words for what happens, where its own name is none."""


def is_found(found: Explanation) -> bool:
    """Whether there is anything to tell of."""
    return bool(found.others) or any(
        one.steps or one.life.missing in {"open", "aborted"} for one in found.lives
    )


def show(found: Explanation) -> None:
    """Print the lives, and on standard error where they were looked for."""
    now = time.time()
    for told in found.lives:
        for line in _head(told, now):
            click.echo(line)
        if told.steps:
            print_table(COLUMNS, [*_rows(told.steps)], texts=3)
        click.echo()
    for message in found.others:
        at = moment(message.timestamp)
        click.echo(escaped(f"{place_of(message)} of {at} belongs to none of these"))
    _show_scope(found)


def value_of(found: Explanation) -> dict[str, Any]:
    """The same for programs."""
    return {
        "lives": [_life(told) for told in found.lives],
        "more": found.more,
        "others": [_place(place_of(message)) for message in found.others],
        "since": found.since.isoformat(timespec="milliseconds"),
        "looked": found.looked,
        "unread": found.unread,
    }


def sentence(told: Told, now: float) -> str:
    """Where a message has come to, in words; `now` in seconds since 1970."""
    life, standing = told.life, told.standing
    if life.missing is not None and (life.missing in UNSEEN or not told.steps):
        return MISSING[life.missing]
    if standing is None:
        return "not known: its group does not say what it has committed"
    words = STATES[standing.state]
    if standing.suspect:
        words = SUSPECT
    elif standing.state == "unfinished" and not standing.in_front:
        words = NEXT
    elif standing.state == "finished" and told.unread and not _has_results(told.steps):
        words = UNKNOWN
    return words.format(
        place=standing.place,
        in_front=standing.in_front,
        seconds=max(0.0, (standing.due or 0) / 1000 - now),
        results=_results(told.steps),
        unread=", ".join(told.unread),
    )


def _has_results(steps: Sequence[Step]) -> bool:
    return any(step.kind == "result" for step in steps)


def _results(steps: Sequence[Step]) -> str:
    found = [step.found_by for step in steps if step.kind == "result"]
    sure = found.count("trace")
    told = {"results found": sure, "results that may be its own": len(found) - sure}
    return ", ".join(f"{what}: {number}" for what, number in told.items() if number) or NO_RESULT


def _head(told: Told, now: float) -> Iterator[str]:
    life = told.life
    about = {
        "pipeline": f"{life.route.pipeline}, group {life.route.group}",
        "key": None if not life.records else readable(life.records[0].key),
        "trace": next(filter(None, map(headers.trace_of, life.records)), None),
        "state": sentence(told, now),
    }
    yield escaped(str(life.first))
    yield from (f"  {name:9}{escaped(value)}" for name, value in about.items() if value is not None)


def _rows(steps: Sequence[Step]) -> Iterator[tuple[str, ...]]:
    begun = steps[0].at
    for step in steps:
        why = [step.reason, step.error, step.text and f"({step.text})"]
        if step.due is not None:
            why.append(f"for {max(0, step.due - step.at) / 1000:,g} s")
        if step.found_by is not None:
            why.append(f"same {step.found_by}")
        yield (
            HAPPENED.get(step.kind, step.kind),
            escaped(str(step.place) if step.place else f"to {step.topic}" if step.topic else ""),
            escaped(" ".join(filter(None, why))),
            moment(step.at),
            f"{(step.at - begun) / 1000:,.3f} s",
            "" if step.attempts is None else str(step.attempts),
            "" if step.took is None else f"{step.took / 1000:,.3f} s",
        )


def _show_scope(found: Explanation) -> None:
    topics, since = len(found.looked), found.since.isoformat(timespec="seconds")
    if not is_found(found):
        click.echo("nothing was found", err=True)
    if found.more:
        click.echo(f"{found.more:,} earlier messages are not shown: see --limit", err=True)
    click.echo(f"looked in {topics} topics, at what was written since {since}", err=True)
    for name, why in found.unread.items():
        click.echo(escaped(f"{name}: {why}"), err=True)


def _life(told: Told) -> dict[str, Any]:
    life, standing = told.life, told.standing
    records = life.records
    return {
        "pipeline": life.route.pipeline,
        "group": life.route.group,
        **_place(life.first),
        "missing": life.missing,
        "key": as_json(records[0].key) if records else None,
        "trace": next(filter(None, map(headers.trace_of, records)), None),
        "standing": None if standing is None else _standing(standing),
        "unread": list(told.unread),
        "steps": [_step(step) for step in told.steps],
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {**standing._asdict(), "place": _place(standing.place)}


def _step(step: Step) -> dict[str, Any]:
    place = None if step.place is None else _place(step.place)
    return {**step._asdict(), "place": place}


def _place(place: Place) -> dict[str, Any]:
    return place._asdict()
