"""What a run is made of: messages that come, and what goes wrong at which call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from worker.testing.calls import Call

Kind = Literal[
    "doubt",
    "fence",
    "hold",
    "jump",
    "kill",
    "lose",
    "outage",
    "pause",
    "raise",
    "refuse",
    "refuse commits",
    "reject",
    "revoke",
    "slow",
    "start",
    "stop",
    "time out",
]
"""What goes wrong:

- doubt: the next record is stored, or the transaction committed, and the answer lost
- fence: another producer takes over the identity of the pipeline's transactions
- hold: brokers do not answer the pipeline's producer for a while
- jump: the time of day is set
- kill: the process ends without a word; another one starts when its session is over
- lose: the group takes the member for dead, which joins anew
- outage: no broker answers anybody for a while
- pause: the process stands still for a while, past its session if that is longer
- raise: the handler raises, a number of times for the same message
- refuse: brokers refuse the next record for what it is, so that its message is a dead letter
- refuse commits: brokers refuse the next commits
- reject: the handler says that the message can never be handled
- revoke: the group takes a partition away for a while
- slow: the next run takes its handler so long
- start: one more process starts
- stop: the process drains and ends; another one starts a moment later
- time out: the next records are not delivered in time
"""

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
