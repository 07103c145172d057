"""What `worker plan` and `worker apply` print, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from worker.flow.layout import Configure, Create, Delete, Grant, Grow, Note, Step
from worker.observe.text import escaped
from worker.operate.planning import Plan

_COLORS: Final = {"+": "green", "~": "yellow", "-": "red", "!": "magenta"}
_ACTIONS: Final = {"+": "create", "~": "change", "-": "delete"}
_DONE: Final = {"+": "created", "~": "changed", "-": "deleted"}

Done = tuple[Step, str | None]


def show_plan(plan: Plan, *, err: bool = False) -> None:
    """Print what differs, a line each with its place in the spec."""
    for step in plan.steps:
        _line(_mark(step), step.origin, _told(step), err=err)
    for note in plan.immovable:
        _line("!", note.origin, note.text, err=err)
    for note in plan.warnings:
        click.echo(escaped(f"{note.origin}: warning: {note.text}"), err=True)
    marks = [_mark(step) for step in plan.steps]
    counts = [f"{marks.count(mark)} to {action}" for mark, action in _ACTIONS.items()]
    left = f"; {len(plan.immovable)} left as they are" if plan.immovable else ""
    told = "nothing differs" if plan.is_clean else f"{', '.join(counts)}{left}"
    click.echo(told, err=err)


def value_of_plan(plan: Plan) -> dict[str, Any]:
    """The same for programs."""
    return {
        "steps": [value_of_step(step) for step in plan.steps],
        "left": [_value_of_note(note) for note in plan.immovable],
        "warnings": [_value_of_note(note) for note in plan.warnings],
    }


def value_of_step(step: Step) -> dict[str, Any]:
    """A step for programs."""
    common = {"action": _ACTIONS[_mark(step)], "origin": step.origin}
    match step:
        case Create(topic, _, settings, _):
            then = settings.model_dump(exclude_defaults=True)
            return {**common, "topic": topic, "to": then}
        case Grow(topic, _, now, to):
            return {**common, "topic": topic, "from": {"partitions": now}, "to": {"partitions": to}}
        case Configure(topic, _, values):
            was = {name: now for name, (now, _) in values.items()}
            then = {name: to for name, (_, to) in values.items()}
            return {**common, "topic": topic, "from": {"config": was}, "to": {"config": then}}
        case Delete(topic, _):
            return {**common, "topic": topic}
        case Grant(right, _, principal):
            return {**common, "principal": principal, "right": right._asdict()}


def show_done(step: Step, error: str | None) -> None:
    """Print what has become of a step."""
    if error is None:
        click.echo(f"{_DONE[_mark(step)]}: {escaped(_told(step))}")
    else:
        click.echo(f"not {_DONE[_mark(step)]}: {escaped(_told(step))}: {escaped(error)}", err=True)


def value_of_done(done: Sequence[Done], untried: Sequence[Step]) -> dict[str, Any]:
    """What was done and what was not, for programs."""
    return {
        "done": [value_of_step(step) for step, error in done if error is None],
        "failed": [{**value_of_step(step), "error": error} for step, error in done if error],
        "not_tried": [value_of_step(step) for step in untried],
    }


def _line(mark: str, origin: str, text: str, *, err: bool) -> None:
    colored = click.style(mark, fg=_COLORS[mark])
    click.echo(f"{colored} {escaped(text)}  {click.style(escaped(origin), dim=True)}", err=err)


def _mark(step: Step) -> str:
    match step:
        case Create() | Grant():
            return "+"
        case Grow() | Configure():
            return "~"
        case Delete():
            return "-"


def _told(step: Step) -> str:
    match step:
        case Create(topic, _, settings, like):
            number = settings.partitions
            partitions = (like or "the broker's number") if number is None else str(number)
            about = [f"partitions {partitions}"]
            if settings.replication is not None:
                about.append(f"replication {settings.replication}")
            about += [f"{name} {value}" for name, value in settings.config.items()]
            return f"topic {topic}: {', '.join(about)}"
        case Grow(topic, _, now, to):
            return f"topic {topic}: partitions {now} -> {to}"
        case Configure(topic, _, values):
            each = (f"{name} {was or '?'} -> {to}" for name, (was, to) in values.items())
            return f"topic {topic}: {', '.join(each)}"
        case Delete(topic, _):
            return f"topic {topic}"
        case Grant(right, _, principal):
            return f"acl for {principal}: {right}"


def _value_of_note(note: Note) -> dict[str, str]:
    return {"origin": note.origin, "text": note.text}
