"""One message through a pipeline as the worker takes it; nothing is sent, nothing committed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from worker.app.execution import executor_of
from worker.app.options import Options
from worker.app.wanted import tiers_of
from worker.engine.execute import Executor
from worker.engine.job import Job
from worker.engine.moves import Moves
from worker.engine.partition import Partition, Run
from worker.engine.pool import LoopThread
from worker.engine.resources import Resources
from worker.engine.settlement import Postponed, Settlement
from worker.flow.attempts import Tried
from worker.flow.failures import FailureGroups
from worker.flow.health import Counts
from worker.flow.lanes import OneLane
from worker.flow.later import history_of
from worker.flow.redaction import Redaction
from worker.flow.retry import attempts_in_place
from worker.kafka.config import DEFAULT_MESSAGE_BYTES
from worker.observe.tracing import TraceContext, context_names
from worker.ports import Clock
from worker.settings import Spec
from worker.settings.secrets import secrets_of
from worker.types import (
    Encoded,
    Message,
    Outcome,
    RawMessage,
    Settled,
    TopicInfo,
    TopicPartition,
)

Around = Callable[[Any], Any]
"""Wraps a function of users."""

UNKNOWN: Final = TopicInfo(partitions=1, max_message_bytes=DEFAULT_MESSAGE_BYTES)
"""What is taken for granted of a topic that is not there yet."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What would become of a message."""

    outcome: Outcome
    settled: Settled | Postponed
    """What would become of it after this attempt."""
    records: list[Encoded]
    """What would be sent."""
    finally_: Rehearsed | None
    """The same if all attempts in place failed like this one; None where there are no more."""
    attempts: int
    """How often it is tried where it is."""
    seconds: float
    """How long decoder, handler and encoder took."""


class Rehearsal:
    """A pipeline's decoder, handler, encoder and what it does about failures.

    `topics` is what the cluster says of those that may be written to. `around` wraps what users
    have written, `stage` the handler alone. A context manager: resources are set up before the
    block and torn down after it; raises `ResourceFailed`.
    """

    def __init__(
        self,
        spec: Spec,
        name: str,
        topics: Mapping[str, TopicInfo],
        options: Options,
        around: Around,
        stage: Around,
    ) -> None:
        self._pipeline = pipeline = spec.pipelines[name]
        self._tiers = tiers_of(spec, name)
        self._handler = options.registry.handlers[pipeline.handler]
        self._loop = LoopThread()
        self._resources = Resources(options.registry.needed(self._handler.resources), self._loop)
        self._job = Job(
            name,
            spec.group(name),
            pipeline.source,
            pipeline.handler,
            pipeline,
            tiers=self._tiers,
        )
        self._observer = TraceContext(context_names(os.environ))
        self._name = name
        self._redacted = Redaction(secrets_of(spec))
        self._topics = topics
        self._around = around
        self._stage = stage

    def __enter__(self) -> Self:
        self._resources.set_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.tear_down()
        self._loop.close()

    def handle(self, raw: RawMessage) -> Rehearsed:
        """Give a message to the handler, and see what would become of it."""
        run = Run(self._partition(raw), [raw])
        executor = self._executor()
        begun = time.monotonic()
        if self._handler.is_async:
            outcomes = self._loop.spawn(executor.execute_async(run)).result()
        else:
            outcomes = executor.execute(run)
        return self._settled(raw, outcomes[0], time.monotonic() - begun)

    def _executor(self) -> Executor:
        handler = replace(self._handler, function=self._around(self._stage(self._handler.function)))
        executor = executor_of(
            self._name,
            self._pipeline,
            handler,
            self._limits,
            lambda topic, _wanted: self._topics.get(topic, UNKNOWN).partitions,
            self._observer,
            self._resources.values,
            redacted=self._redacted,
        )
        results = replace(executor.results, encode=self._around(executor.results.encode))
        decode = None if executor.decode is None else self._around(executor.decode)
        return replace(executor, decode=decode, results=results)

    @property
    def _limits(self) -> dict[str, int]:
        return {topic: info.max_message_bytes for topic, info in self._topics.items()}

    def _partition(self, raw: RawMessage) -> Partition:
        source = TopicPartition(raw.topic(), raw.partition())
        partition = Partition(source, raw.offset(), None, OneLane())
        names = [tier.topic for tier in self._tiers]
        partition.tier = names.index(source.topic) if source.topic in names else None
        return partition

    def _settled(
        self, raw: RawMessage, outcome: Outcome, seconds: float, failed_before: int = 0
    ) -> Rehearsed:
        """What the engine makes of an outcome, of a message that has failed here so often."""
        partition, clock, observer = self._partition(raw), Clock(), self._observer
        if failed_before:
            now = int(clock.time() * 1000)
            partition.attempts[raw.offset()] = Tried(failed_before, now)
        numbers = {topic: info.partitions for topic, info in self._topics.items()}
        moves = Moves(self._job, self._limits, numbers, clock, observer)
        settlement = Settlement(
            self._job, self._limits, moves, clock, observer, Counts(), FailureGroups()
        )
        settlement.careful = True
        chunk, postponed, _ = settlement.chunk(Run(partition, [raw]), [outcome])
        before = history_of(Message(raw)).attempts if partition.passed else 0
        attempts = attempts_in_place(self._pipeline.retry, partition.passed, before)
        comes_again = bool(postponed) and not failed_before
        return Rehearsed(
            outcome,
            postponed[0] if postponed else chunk.outcomes[0],
            list(chunk.records),
            self._settled(raw, outcome, seconds, attempts - 1) if comes_again else None,
            attempts,
            seconds,
        )
