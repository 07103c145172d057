"""The clients of a process on the memory broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.errors import ClientFatal
from worker.settings import Pipeline
from worker.testing.consumer import MemoryConsumer
from worker.testing.memory import MemoryAdmin, MemoryBroker
from worker.testing.producer import MemoryProducer
from worker.testing.table import MemoryTable
from worker.testing.transactional import MemoryTransactional


class MemoryClients:
    """Implements `ports.ClientSupplier`, for a process of this name, which may be killed."""

    def __init__(self, broker: MemoryBroker, process: str) -> None:
        self.consumers: list[MemoryConsumer] = []
        """Every one that was made, in order."""
        self.producers: list[MemoryProducer] = []
        """Every one that was made, in order."""
        self.members: dict[str, MemoryConsumer] = {}
        """By group the one that was made last."""
        self._writers: dict[str, MemoryTransactional] = {}
        """The same, of those that commit."""
        self._broker = broker
        self._process = process
        self._is_dead = False

    def admin(self, timeout: float) -> MemoryAdmin:  # noqa: ARG002
        """See `ports.ClientSupplier`."""
        return self._broker.admin()

    def consumer(self, group: str, pipeline: Pipeline) -> MemoryConsumer:
        """See `ports.ClientSupplier`."""
        self._require_life()
        member = self._broker.consumer(group, isolation=pipeline.isolation)
        self.consumers.append(member)
        self.members[group] = member
        return member

    def producer(self, limits: Mapping[str, int], *, alone: bool) -> MemoryProducer:  # noqa: ARG002
        """See `ports.ClientSupplier`; each record is a batch of its own."""
        self._require_life()
        self.producers.append(self._broker.producer())
        return self.producers[-1]

    def transactional(
        self,
        group: str,
        pipeline: Pipeline,
        limits: Mapping[str, int],  # noqa: ARG002
        *,
        alone: bool,  # noqa: ARG002
    ) -> MemoryTransactional:
        """See `ports.ClientSupplier`."""
        self._require_life()
        identity = f"{group}.{pipeline.instance or self._process}"
        made = self._broker.transactional(identity, timeout=pipeline.transaction.timeout)
        self.producers.append(made)
        self._writers[group] = made
        return made

    def table(self, group: str) -> MemoryTable:  # noqa: ARG002
        """See `ports.ClientSupplier`."""
        return self._broker.table()

    def require_fencing(self, timeout: float) -> None:
        """See `ports.ClientSupplier`; the memory broker refuses former members."""

    def has_owner(self, group: str, pipeline: Pipeline, timeout: float) -> bool:  # noqa: ARG002
        """See `ports.ClientSupplier`; instances of groups are not modelled."""
        return False

    def before_commit(self, group: str, event: Callable[[], object]) -> None:
        """Have something happen just before offsets of a group are committed the next time."""
        self.members[group].before_commit = event
        if group in self._writers:
            self._writers[group].before_commit = event

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

    def _require_life(self) -> None:
        if self._is_dead:
            raise ClientFatal("the process was killed")
