"""The shortest schedule that breaks the same promise: what is not needed is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, TypeVar

from worker.testing.simulation.schedule import Event, Schedule

ATTEMPTS: Final = 600
"""So many shorter schedules are tried at most."""

Item = TypeVar("Item")
Breaks = Callable[[Schedule], bool]


def shrink(schedule: Schedule, breaks: Breaks, attempts: int = ATTEMPTS) -> Schedule:
    """Try shorter and plainer schedules for as long as one of them still breaks the promise."""
    left = iter(range(attempts))

    def still(shorter: Schedule) -> bool:
        return next(left, None) is not None and breaks(shorter)

    before = None
    while schedule != before:
        before = schedule
        schedule = _without_events(schedule, still)
        schedule = _halved(schedule, still)
        schedule = _without_messages(schedule, still)
        schedule = _plain(schedule, still)
    return schedule


def _without_events(schedule: Schedule, breaks: Breaks) -> Schedule:
    events = shortest(schedule.events, lambda few: breaks(replace(schedule, events=tuple(few))))
    return replace(schedule, events=tuple(events))


def _without_messages(schedule: Schedule, breaks: Breaks) -> Schedule:
    given = shortest(schedule.given, lambda few: breaks(replace(schedule, given=tuple(few))))
    return replace(schedule, given=tuple(given))


def shortest(items: Sequence[Item], holds: Callable[[Sequence[Item]], bool]) -> Sequence[Item]:
    """Leave out items, many at a time and then fewer, as long as something holds of the others."""
    size = len(items)
    while size:
        place = 0
        while place < len(items):
            few = [*items[:place], *items[place + size :]]
            if holds(few):
                items = few
            else:
                place += size
        size //= 2
    return items


def _halved(schedule: Schedule, breaks: Breaks) -> Schedule:
    """Give half of the messages; what happens at a call happens at half of its number."""
    while True:
        events = tuple(replace(one, number=(one.number + 1) // 2) for one in schedule.events)
        half = replace(schedule, given=schedule.given[: len(schedule.given) // 2], events=events)
        if not schedule.given or not breaks(half):
            return schedule
        schedule = half


def _plain(schedule: Schedule, breaks: Breaks) -> Schedule:
    """Replace what is drawn by what is plain."""
    changed = True
    while changed:
        plainer = next(filter(breaks, _plainer(schedule)), None)
        changed = plainer is not None
        schedule = plainer or schedule
    return schedule


def _plainer(schedule: Schedule) -> Iterator[Schedule]:
    at_once = tuple(replace(one, at=0.0) for one in schedule.given)
    of_one = tuple(replace(one, results=1) for one in schedule.given)
    wholes = (
        replace(schedule, pace=0.0),
        replace(schedule, processes=schedule.processes - 1 or 1),
        replace(schedule, given=at_once),
        replace(schedule, given=of_one),
    )
    events = schedule.events
    parts = (
        replace(schedule, events=(*events[:place], event, *events[place + 1 :]))
        for place, one in enumerate(events)
        for event in _earlier(one)
    )
    return (plainer for plainer in chain(wholes, parts) if plainer != schedule)


def _earlier(event: Event) -> Iterator[Event]:
    """The same at an earlier call, or less often."""
    for number in dict.fromkeys([1, event.number // 2, event.number - 1]):
        if 0 < number < event.number:
            yield replace(event, number=number)
    if event.times > 1:
        yield replace(event, times=1)
