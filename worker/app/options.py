"""How a worker is run, beside its spec."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from worker.app.pools import HandlerPools, Pools
from worker.engine.pool import LoopThread
from worker.engine.topics import KnownTopics
from worker.handlers import REGISTRY, Registry
from worker.kafka.supplier import KafkaClients
from worker.ports import Admin, ClientSupplier, Clock, Consumer, Producer, Transactional
from worker.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class Wrap:
    """Decorators of the ports, by which tests put faults between the engine and its clients."""

    consumer: Callable[[Consumer], Consumer] = lambda consumer: consumer
    producer: Callable[[Producer], Producer] = lambda producer: producer
    transactional: Callable[[Transactional], Transactional] = lambda transactional: transactional
    admin: Callable[[Admin], Admin] = lambda admin: admin


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker is run, beside its spec."""

    only: Sequence[str] = ()
    """Names of the pipelines to run; all when empty."""
    create_topics: bool = False
    path: Sequence[str] = ()
    """Folders beside the working directory in which modules of handlers are looked for."""
    process: int | None = None
    """The index of this process where a supervisor runs several, and has the endpoint itself."""
    name: str | None = None
    """By which the process knows itself again in commits; by default one that no other has."""
    prepare: Callable[[], object] = nothing
    """What processes of a pool do first, such as setting up their log; it is pickled."""
    registry: Registry = field(default_factory=lambda: REGISTRY)
    wrap: Wrap = field(default_factory=Wrap)
    clients: Callable[[KafkaSettings, int], ClientSupplier] = KafkaClients
    """Given what the spec says of the cluster, and the index of the process."""
    pools: Callable[[LoopThread, KnownTopics], Pools] = HandlerPools
    clock: Clock = field(default_factory=Clock)
    draw: Callable[[], float] = random.random
    """Chance, from 0 to 1: what waits before a further attempt are cut by."""
