"""What a pipeline is to do, and with what."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from worker.engine.breaker import Breaker
from worker.engine.ends import LogEnds
from worker.engine.floor import Floor
from worker.engine.partition import POLL_LIMIT
from worker.engine.pool import Pool
from worker.flow.lanes import Lanes, OneLane
from worker.flow.retry import Tier
from worker.ports import Consumer, Producer, Table, Transactional
from worker.settings import Pipeline

Made_co = TypeVar("Made_co", bound=Producer, covariant=True)


@dataclass(frozen=True, slots=True)
class Job:
    """What a runner is to do."""

    name: str
    group: str
    topics: Sequence[str]
    """Names and patterns: the sources, the topic of redriven dead letters if any, the tiers.

    Where a group starts is said of its sources; the others are read from the oldest."""
    handler: str
    settings: Pipeline
    run_limit: int = POLL_LIMIT
    """Messages in a run at most; for a batch handler the batch."""
    there: Collection[str] = ()
    """Topics that were there when the worker started; of those named it is taken for granted."""
    lanes: Callable[[], Lanes] = OneLane
    """Makes the lanes of a partition."""
    rate: float | None = None
    """Messages a second at most."""
    floor: Floor = field(default_factory=Floor)
    """The process that it runs in, the same for all of its pipelines."""
    apart: Callable[[], Pool] | None = None
    """Makes a pool whose handlers may end without the worker, if there can be one."""
    breaker: Breaker | None = None
    """What is handed out depends on it."""
    tiers: Sequence[Tier] = ()
    """Retry topics, each with how long messages wait there; they belong to `topics`."""
    tier_lanes: Callable[[], Lanes] = OneLane
    """Makes the lanes of a partition of a retry topic."""
    fence: str | None = None
    """The log of fences, where lanes follow their messages to retry topics."""
    may_be_silent: float = 300.0
    """Seconds between two polls after which the group takes a member for dead."""
    in_batches: bool = False
    """Whether a handler is at all messages of a run at the same time."""
    draw: Callable[[], float] = random.random
    """Chance, from 0 to 1: what waits before a further attempt are cut by."""
    max_wait: float = 0.25
    """Seconds that a broker may keep the answer to a fetch back."""


class MakeProducer(Protocol[Made_co]):
    """Makes a producer, be it one that sends each record alone: in a batch of its own."""

    def __call__(self, *, alone: bool) -> Made_co: ...


@dataclass(frozen=True, slots=True)
class Clients:
    """How a runner comes by its clients; they are made anew after a fatal error."""

    consumer: Callable[[], Consumer]
    producer: MakeProducer[Producer]
    limits: Mapping[str, int]
    """`max.message.bytes` of every topic produced to, kept current by `producer`."""
    log_ends: LogEnds
    """Where the partitions end that are read, be it that nothing is fetched."""
    partitions: Mapping[str, int] = field(default_factory=dict)
    """How many partitions these topics have, as last heard."""
    table: Callable[[], Table] | None = None
    """Makes a reader of the log of fences."""
    transactional: MakeProducer[Transactional] | None = None
    """Makes the producer of a pipeline that delivers exactly once, in place of `producer`."""
