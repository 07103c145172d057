"""A runner on the memory broker, stepped by hand, with handlers that run in the same thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from worker.app.lanes import lanes_of, tier_lanes_of
from worker.engine.breaker import Breaker
from worker.engine.ends import LogEnds
from worker.engine.execute import Executor
from worker.engine.floor import Floor
from worker.engine.job import Clients, Job
from worker.engine.partition import Run
from worker.engine.repairs import GivenUp
from worker.engine.results import Results
from worker.engine.runner import Late, Runner
from worker.flow.failures import FailureGroups
from worker.flow.health import Counts
from worker.flow.retry import Tier
from worker.handlers import Registry
from worker.ports import Observer
from worker.serdes import SERDES, decoder
from worker.settings import Pipeline
from worker.settings.topics import fence_topic, retry_topic
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.consumer import MemoryConsumer
from worker.testing.memory.producer import MemoryProducer
from worker.testing.memory.transactional import MemoryTransactional
from worker.testing.pool import InlinePool
from worker.types import Message, Outcome, TopicPartition

GROUP = "test.pipeline"
TOPICS = ("source", "target", "dlq", "invalid")
LIMIT = 1_048_588


class HeldPool(InlinePool):
    """Handles runs when they are collected; `hold` keeps them as a slow handler would.

    Runs with a message whose value is in `stuck` do not come back while it is.
    """

    def __init__(self, execute: Callable[[Run], list[Outcome]]) -> None:
        super().__init__(execute)
        self.hold = False
        self.stuck: set[bytes | None] = set()

    @property
    def saturated(self) -> bool:
        return sum(not self.is_stuck(run) for run in self.runs) >= self.size

    def is_over(self, run: Run) -> bool:
        return not (self.hold or self.is_stuck(run))

    def is_stuck(self, run: Run) -> bool:
        return not self.stuck.isdisjoint(message.value() for message in run.messages)


@dataclass
class Rig:
    """One pipeline from `source` to `target` and what tests need to look at it."""

    function: Callable[..., Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker(ManualClock()))
    queue: int = 100_000
    partitions: int = 1
    batch: int | None = None
    observer: Observer = field(default_factory=Observer)
    floor: Floor = field(default_factory=Floor)
    breaker: Breaker | None = None
    lane: Callable[[Message], bytes | str | None] | None = None
    """A function that settings may name as `lane`."""

    def __post_init__(self) -> None:
        for topic in TOPICS:
            self.broker.create(topic, self.partitions)
        registry = Registry()
        registry.handler(self.function, batch=self.batch, name="handler")
        if self.lane is not None:
            registry.lane(self.lane, name="lane")
        handler = registry.handlers["handler"]
        pipeline = Pipeline.model_validate(
            {"from": "source", "to": "target", "handler": "handler", **self.settings}
        )
        waits = enumerate(pipeline.retry.topics)
        self.tiers = [Tier(retry_topic(GROUP, place), wait) for place, wait in waits]
        fence = fence_topic(GROUP) if pipeline.keeps_order else None
        own = [tier.topic for tier in self.tiers]
        for topic in own:
            self.broker.create(topic, self.partitions)
        if fence is not None:
            self.broker.create(fence, 1)
        self.limits = dict.fromkeys([*TOPICS, *own], LIMIT)
        self.executor = Executor(
            handler,
            None if handler.payload is Message else decoder(SERDES["json"], handler.payload),
            Results(
                SERDES["json"].encode,
                "target",
                self.limits,
                lambda _topic, _wanted: self.partitions,
                self.observer,
                source_time=False,
            ),
            pipeline.retry,
            pipeline.dead_letter,
            pipeline.ordering == "partition",
            {},
            pipeline.timeout,
            pipeline.breaker,
        )
        self.identity = f"{GROUP}.{len(self.broker.consumers)}"
        """What its producers of transactions have in common."""
        self.pool = self._make_pool()
        self.counts = Counts()
        self.groups = FailureGroups()
        self.late: Late = {}
        self.given_up: GivenUp = {}
        self.log_ends = LogEnds(self.broker.admin().ends, self.clock)
        """Asked where tests say so."""
        clients = Clients(
            lambda: self.broker.consumer(GROUP),
            self._make_producer,
            self.limits,
            self.log_ends,
            dict.fromkeys(own, self.partitions),
            self.broker.table,
            self._make_transactional if pipeline.delivery == "exactly_once" else None,
        )
        run_limit = self.batch or (500 if pipeline.ordering == "partition" else 1)
        rate = None if pipeline.rate_limit is None else pipeline.rate_limit.pipeline
        if pipeline.breaker is not None and self.breaker is None:
            self.breaker = Breaker(pipeline.breaker)
        self._job = Job(
            "pipeline",
            GROUP,
            ["source", *own],
            "handler",
            pipeline,
            run_limit,
            (),
            lanes_of(pipeline, registry),
            rate,
            self.floor,
            breaker=self.breaker,
            tiers=self.tiers,
            tier_lanes=tier_lanes_of(pipeline, registry),
            fence=fence,
            in_batches=self.batch is not None,
        )
        self._clients = clients
        self.runner = self._join()

    def _make_pool(self) -> HeldPool:
        return HeldPool(self.executor.execute)

    def _make_producer(self, *, alone: bool) -> MemoryProducer:  # noqa: ARG002 - each record is
        self.producer = self.broker.producer(queue=self.queue)
        return self.producer

    def _make_transactional(self, *, alone: bool) -> MemoryTransactional:  # noqa: ARG002
        self.producer = producer = self.broker.transactional(
            self.identity, timeout=self._job.settings.transaction.timeout, queue=self.queue
        )
        return producer

    def _join(self) -> Runner:
        return Runner(
            self._job,
            self._clients,
            self.pool,
            self.clock,
            self.observer,
            self.counts,
            self.groups,
            self.late,
            self.given_up,
        )

    def restart(self, floor: Floor | None = None) -> None:
        """Die without a word, and come back when the group has noticed, in this process."""
        dead = self.consumer
        dead.kill()
        dead.expire()
        self.pool.close()
        self._job = replace(self._job, floor=floor or Floor())
        self.late.clear()
        self.runner = self._join()

    def join_again(self) -> None:
        """Leave, and come back with new clients while handlers still have what they had."""
        self.runner.close()
        self.runner = self._join()

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.broker.clock, ManualClock)
        return self.broker.clock

    @property
    def consumer(self) -> MemoryConsumer:
        consumer = self.runner.consumer
        assert isinstance(consumer, MemoryConsumer)
        return consumer

    def send(self, *values: str, partition: int = 0) -> None:
        """Write JSON values to the source, keyed by themselves."""
        for value in values:
            self.broker.append("source", value.encode(), value.encode(), partition=partition)

    def step(self, times: int = 4) -> None:
        """Let the runner do some rounds and the time of a commit pass."""
        for _ in range(times):
            self.runner.step()
        self.clock.advance(1.0)
        for _ in range(2):
            self.runner.step()

    def values(self, topic: str = "target") -> list[str]:
        return [(message.value or b"").decode() for message in self.broker.records(topic)]

    def committed(self, partition: int = 0) -> int | None:
        return self.broker.committed(GROUP).get(TopicPartition("source", partition))
