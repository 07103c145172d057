"""What a run is made of: messages that come, and what goes wrong at which call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from worker.settings.simulation import Call, Kind, Scheduled

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Given:
    """A message that comes."""

    topic: str
    key: str | None
    results: int
    """How many a handler returns for it where nothing goes wrong."""
    at: float
    """Seconds from the beginning."""
    gap: int = 0
    """Offsets behind it that no record has, as control records and compaction leave them."""
    value: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that goes wrong when a pipeline makes a call for the so-manieth time."""

    what: Kind
    pipeline: str
    call: Call
    number: int
    seconds: float = 0.0
    times: int = 1

    def __str__(self) -> str:
        lasts = f" for {self.seconds:g}s" if self.seconds else ""
        often = f" {self.times} times" if self.times > 1 else ""
        return f"{self.what}{lasts}{often} at {self.pipeline}'s {self.call} {self.number}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run; the same schedule gives the same run, byte for byte."""

    seed: int
    """Of what is drawn while it runs."""
    processes: int
    pace: float
    """Seconds that handlers take at most for a run where nothing says more."""
    given: tuple[Given, ...]
    events: tuple[Event, ...]


def schedule_of(settings: Scheduled) -> Schedule:
    """The schedule that a test says."""
    given = (
        Given(one.topic, one.key, one.results, one.at, one.gap, one.value.encode())
        for one in settings.given
    )
    events = (
        Event(one.what, one.pipeline, one.call, one.number, one.seconds, one.times)
        for one in settings.events
    )
    return Schedule(settings.seed, settings.processes, settings.pace, tuple(given), tuple(events))
