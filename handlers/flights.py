"""The example: how late the flights were that left New York in February 2013."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worker import Reject, handler, resource

DATA = Path(__file__).parent / "data"

Punctuality = Literal["on_time", "late", "very_late"]


@dataclass(frozen=True, slots=True)
class Flight:
    """What `delays` reads; other fields of the JSON are ignored."""

    time_hour: str
    carrier: str
    flight: int
    origin: str
    dest: str
    dep_delay: int | None


@dataclass(frozen=True, slots=True)
class Delay:
    """How late a flight left, in minutes, with names in place of codes."""

    flight: str
    hour: str
    carrier: str
    origin: str
    destination: str
    minutes: int
    punctuality: Punctuality


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell passengers."""

    text: str


@dataclass(frozen=True, slots=True)
class Names:
    """Names of carriers and airports by their codes."""

    carriers: dict[str, str]
    airports: dict[str, str]


@resource
def names() -> Iterator[Names]:
    """Load the tables once, before the first message; a tear-down would follow the yield."""
    yield Names(
        json.loads((DATA / "airlines.json").read_text()),
        json.loads((DATA / "airports.json").read_text()),
    )


@handler
def delays(flight: Flight, names: Names) -> Delay:
    """Name the carrier and the airports of a flight and say how punctual it was."""
    if flight.dep_delay is None:
        raise Reject("departure missing")
    if flight.carrier not in names.carriers:
        raise Reject("unknown carrier")
    return Delay(
        flight=f"{flight.carrier} {flight.flight}",
        hour=flight.time_hour,
        carrier=names.carriers[flight.carrier],
        origin=names.airports.get(flight.origin, flight.origin),
        destination=names.airports.get(flight.dest, flight.dest),
        minutes=flight.dep_delay,
        punctuality=punctuality(flight.dep_delay),
    )


@handler
def alerts(delay: Delay) -> Alert | None:
    """Pass only flights on that were two hours late or more."""
    if delay.minutes < 120:
        return None
    return Alert(f"{delay.flight} to {delay.destination} left {delay.minutes} minutes late")


def punctuality(minutes: int) -> Punctuality:
    """Classify a delay; a flight counts as late from 15 minutes on (US DOT)."""
    if minutes < 15:
        return "on_time"
    return "late" if minutes < 120 else "very_late"
