"""What a run has left: what happened in which order, and the records that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.settings import Pipeline
from worker.testing.simulation.schedule import Event, Schedule
from worker.testing.simulation.stubs import Place
from worker.types import TopicPartition


class Began(NamedTuple):
    """A handler was about to be given a message."""

    at: float
    process: str
    pipeline: str
    place: Place
    source: TopicPartition
    """Where it was read, be it a retry topic."""
    offset: int
    is_owner: bool
    """Whether its group says that the process has that partition, and it knows nothing else."""


class Ended(NamedTuple):
    """A handler came to an end."""

    at: float
    process: str
    pipeline: str
    place: Place
    results: int | None
    """How many it has returned; None where it has raised."""
    is_final: bool
    """Whether it has said that the message can never be handled."""


class Committed(NamedTuple):
    """A group has committed another offset."""

    at: float
    pipeline: str
    source: TopicPartition
    offset: int
    metadata: str
    ends: Mapping[TopicPartition, int]
    """Where the logs of all partitions ended by then."""


class Held(NamedTuple):
    """A pipeline has held more messages than ever before in this process."""

    at: float
    process: str
    pipeline: str
    messages: int


class Said(NamedTuple):
    """The worker has logged something."""

    at: float
    text: str


class Happened(NamedTuple):
    """Something of the schedule."""

    at: float
    process: str
    event: Event


Spot = tuple[TopicPartition, int]
"""A partition and an offset."""


class Kept(NamedTuple):
    """A message as its topic has it."""

    offset: int
    place: Place
    """Where it was read first."""
    key: bytes | None


Fact = Began | Ended | Committed | Held | Said | Happened


@dataclass(slots=True)
class History:
    """A run from its beginning to its end."""

    schedule: Schedule
    pipelines: Mapping[str, Pipeline]
    groups: Mapping[str, str]
    """Those of the pipelines."""
    facts: list[Fact] = field(default_factory=list)
    messages: Mapping[TopicPartition, Sequence[Kept]] = field(default_factory=dict)
    """By partition, of those that pipelines read, its messages that are committed, in order."""
    results: Mapping[str, Mapping[Place, Mapping[int, list[Spot]]]] = field(default_factory=dict)
    """By pipeline and message its results by their numbers, and where they are."""
    repeated: Mapping[str, Sequence[tuple[Place, int]]] = field(default_factory=dict)
    """By pipeline what is there more often than a handler has returned it: message and number."""
    letters: Mapping[str, Mapping[Place, list[tuple[str | None, Spot]]]] = field(
        default_factory=dict
    )
    """By pipeline and message why it is a dead letter, and where that is."""
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    """By partition where a reader who waits for commits is through."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """The pipelines that cannot go on, and why."""
    left: str | None = None
    """What was left to do when it should have been done."""
    raised: str | None = None
    """What the worker has raised, and where; then the run was over."""
