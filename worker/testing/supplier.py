"""The clients of a process on the memory broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from worker.errors import ClientFatal
from worker.settings import KafkaSettings, Pipeline, ProducerSettings
from worker.settings.simulation import ClientCall
from worker.testing.calls import pipeline_at_hand
from worker.testing.memory.broker import MemoryAdmin, MemoryBroker
from worker.testing.memory.consumer import MemoryConsumer
from worker.testing.memory.producer import BATCH_BYTES, MemoryProducer
from worker.testing.memory.table import MemoryTable
from worker.testing.memory.transactional import MemoryTransactional

Made = TypeVar("Made", bound=MemoryProducer)


class MemoryClients:
    """Implements `ports.ClientSupplier`, for a process of this name, which may be killed.

    `before` is told of each call of a client, by the name of the pipeline, before it is made.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        process: str,
        kafka: KafkaSettings,
        before: Callable[[str, ClientCall], object],
    ) -> None:
        self.consumers: list[MemoryConsumer] = []
        """Every one that was made, in order."""
        self.producers: list[MemoryProducer] = []
        """Every one that was made, in order."""
        self.members: dict[str, MemoryConsumer] = {}
        """By group the one that was made last."""
        self.writers: dict[str, MemoryProducer] = {}
        """By pipeline the producer that was made last."""
        self._before = before
        self._broker = broker
        self._process = process
        self._kafka = kafka
        self._is_dead = False

    def admin(self, timeout: float) -> MemoryAdmin:  # noqa: ARG002
        """See `ports.ClientSupplier`."""
        return self._broker.admin()

    def consumer(self, group: str, pipeline: Pipeline) -> MemoryConsumer:
        """See `ports.ClientSupplier`."""
        self._require_life()
        member = self._broker.consumer(
            group,
            isolation=pipeline.isolation,
            settings=self._kafka.group,
            instance=_instance(group, pipeline),
        )
        member.before = self._called
        self.consumers.append(member)
        self.members[group] = member
        return member

    def producer(self, limits: Mapping[str, int], *, alone: bool) -> MemoryProducer:
        """See `ports.ClientSupplier`."""
        self._require_life()
        sending, size = self._sending(alone=alone), _batch_bytes(limits)
        return self._added(self._broker.producer(settings=sending, batch_bytes=size))

    def transactional(
        self, group: str, pipeline: Pipeline, limits: Mapping[str, int], *, alone: bool
    ) -> MemoryTransactional:
        """See `ports.ClientSupplier`."""
        self._require_life()
        made = self._broker.transactional(
            _instance(group, pipeline) or f"{group}.{self._process}",
            timeout=pipeline.transaction.timeout,
            settings=self._sending(alone=alone),
            batch_bytes=_batch_bytes(limits),
        )
        return self._added(made)

    def table(self, group: str) -> MemoryTable:  # noqa: ARG002
        """See `ports.ClientSupplier`."""
        return self._broker.table()

    def require_fencing(self, timeout: float) -> None:
        """See `ports.ClientSupplier`; the memory broker refuses former members."""

    def has_owner(self, group: str, pipeline: Pipeline, timeout: float) -> bool:  # noqa: ARG002
        """See `ports.ClientSupplier`."""
        return self._broker.group(group).has_instance(_instance(group, pipeline))

    def kill(self) -> None:
        """Let all clients end without a word: what is open stays so, places in groups are kept."""
        self._is_dead = True
        for consumer in self.consumers:
            consumer.kill()
        for producer in self.producers:
            producer.fail("the process was killed")

    def expire(self) -> None:
        """Let groups find that the members of this process are not there any more."""
        for consumer in self.consumers:
            if consumer.is_member:
                consumer.expire()

    def _sending(self, *, alone: bool) -> ProducerSettings:
        settings = self._kafka.producer
        return settings.model_copy(update={"batch_messages": 1}) if alone else settings

    def _added(self, made: Made) -> Made:
        made.before = self._called
        self.producers.append(made)
        self.writers[pipeline_at_hand()] = made
        return made

    def _called(self, call: ClientCall) -> None:
        self._before(pipeline_at_hand(), call)

    def _require_life(self) -> None:
        if self._is_dead:
            raise ClientFatal("the process was killed")


def _instance(group: str, pipeline: Pipeline) -> str | None:
    return None if pipeline.instance is None else f"{group}.{pipeline.instance}"


def _batch_bytes(limits: Mapping[str, int]) -> int:
    """No batch may be larger than the topic takes that takes least."""
    return min([BATCH_BYTES, *limits.values()])
