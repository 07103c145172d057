"""Schedules of the simulator, as a test of a spec repeats them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from worker.settings.values import NAME, Model, Topic

ClientCall = Literal[
    "abort",
    "begin",
    "commit",
    "committed",
    "find",
    "pause",
    "poll",
    "resume",
    "seek",
    "send",
    "serve",
    "take_over",
]
"""What a pipeline asks of its consumer or its producer; `serve` is the `poll` of a producer."""

HandlerCall = Literal["handle", "handled"]
"""A handler is about to be given messages, and it has returned or raised."""

Call = ClientCall | HandlerCall

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


class ScheduledMessage(Model):
    """A message that comes."""

    topic: Topic = Field(description="The topic.")
    key: str | None = Field(None, description="The key.")
    results: Annotated[int, Field(ge=0)] = Field(
        1, description="How many results the handler has for it."
    )
    at: Annotated[float, Field(ge=0)] = Field(0.0, description="Seconds from the beginning.")
    gap: Annotated[int, Field(ge=0)] = Field(0, description="Offsets behind it that no record has.")
    value: str = Field("{}", description="The payload, for handlers that read it.")


class ScheduledEvent(Model):
    """Something that goes wrong."""

    what: Kind = Field(description="What goes wrong.")
    pipeline: Annotated[str, Field(pattern=NAME)] = Field(
        description="The pipeline with which it does."
    )
    call: Call = Field(description="The call of a client or of its handler before which it does.")
    number: Annotated[int, Field(ge=1)] = Field(description="Which of these calls it is.")
    seconds: float = Field(0.0, description="How long it lasts.")
    times: Annotated[int, Field(ge=1)] = Field(1, description="How often it does.")


class Scheduled(Model):
    """A run of the simulator, all of whose promises have to hold."""

    seed: int = Field(0, description="Of what is drawn while it runs.")
    processes: Annotated[int, Field(ge=1)] = Field(1, description="Processes of the worker.")
    pace: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Seconds that handlers take at most where nothing says more."
    )
    handlers: bool = Field(
        False, description="Whether handlers are those of the spec, and no stubs."
    )
    given: list[ScheduledMessage] = Field([], description="The messages that come.")
    events: list[ScheduledEvent] = Field([], description="What goes wrong.")
