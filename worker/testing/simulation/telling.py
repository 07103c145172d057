"""A run as people read it: a time line, and the test that repeats it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from worker.testing.simulation.history import (
    Began,
    Committed,
    Ended,
    Happened,
    Held,
    History,
    Said,
)
from worker.testing.simulation.schedule import Event, Given, Schedule


def timeline(history: History) -> Iterator[str]:
    """What has happened, a line each with its time; repeated commits are left out."""
    yield from _given(history.schedule)
    offsets: dict[tuple[str, object], int] = {}
    for fact in history.facts:
        if isinstance(fact, Committed):
            place = fact.pipeline, fact.source
            if offsets.get(place) == fact.offset:
                continue
            offsets[place] = fact.offset
        if not isinstance(fact, Held):
            yield f"{fact.at:10.3f}s  {_told(fact)}"


def _given(schedule: Schedule) -> Iterator[str]:
    for one in schedule.given:
        key = "without a key" if one.key is None else f"with the key {one.key}"
        yield f"{one.at:10.3f}s  a message comes to {one.topic} {key}"


def _told(fact: Began | Ended | Committed | Said | Happened) -> str:
    match fact:
        case Began():
            where = f"{fact.source}@{fact.offset}"
            owner = "" if fact.is_owner else ", which it does not have any more"
            return f"{fact.process}: {fact.pipeline} handles {where}{owner}"
        case Ended(results=None):
            return f"{fact.process}: {fact.pipeline} has failed at {_place(fact)}"
        case Ended():
            return f"{fact.process}: {fact.pipeline} has {fact.results} results of {_place(fact)}"
        case Committed():
            return f"{fact.pipeline} has committed {fact.source} at {fact.offset}"
        case Said():
            return f"log: {fact.text}"
        case Happened():
            return f"{fact.process}: >>> {fact.event}"


def _place(fact: Ended) -> str:
    topic, partition, offset = fact.place
    return f"{topic}[{partition}]@{offset}"


def test_of(schedule: Schedule, *, handlers: bool) -> dict[str, Any]:
    """A schedule as `tests.*.schedule` has it, with what is not as by default."""
    found = _said({"seed": schedule.seed, "processes": schedule.processes, "pace": schedule.pace})
    if handlers:
        found["handlers"] = True
    return {
        **found,
        "given": [_of_given(one) for one in schedule.given],
        "events": [_of_event(one) for one in schedule.events],
    }


def _of_given(given: Given) -> dict[str, Any]:
    value = {} if given.value == b"{}" else {"value": given.value.decode("utf-8", "replace")}
    found = {"topic": given.topic, "key": given.key, "at": given.at, "gap": given.gap, **value}
    return _said(found) | ({} if given.results == 1 else {"results": given.results})


def _of_event(event: Event) -> dict[str, Any]:
    found = _said(asdict(event))
    return {name: value for name, value in found.items() if (name, value) != ("times", 1)}


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is not nothing."""
    return {name: value for name, value in values.items() if value not in (None, 0, 0.0)}
