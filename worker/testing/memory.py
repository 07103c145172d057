"""Kafka in memory: a log, groups, rebalances and delivery errors behind the worker's own ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from worker.errors import BrokersUnreachable
from worker.ports import Clock, NewTopic, Offsets
from worker.testing.cluster import Cluster
from worker.testing.consumer import MemoryConsumer
from worker.testing.producer import MemoryProducer, as_bytes
from worker.testing.table import MemoryTable
from worker.testing.transactional import MemoryTransactional
from worker.types import Commit, Headers, Isolation, Message, TopicInfo, TopicPartition

MAX_MESSAGE_BYTES = 1_048_588
"""What a broker takes when nothing else is configured."""
PARTITIONS = 4
"""Partitions of a topic for which no number is given."""


class MemoryBroker(Cluster):
    """A cluster in memory; its clients may live in threads of their own.

    With a `ManualClock` nothing ever waits: `poll` returns at once with what is there. Without a
    clock the time is real and `poll` waits like a real client.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.consumers: list[MemoryConsumer] = []
        """Every consumer that was made, in order."""
        self.producers: list[MemoryProducer] = []
        """Every producer that was made, in order, but those of transactions."""
        self.transactionals: list[MemoryTransactional] = []
        """Every producer of transactions that was made, in order."""

    # --- topics and records ---

    def create(
        self, topic: str, partitions: int = PARTITIONS, max_message_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        """Make a topic; one that exists already is left as it is."""
        with self.lock:
            if topic not in self.topics:
                self.make(topic, partitions, max_message_bytes)

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Let a topic have so many partitions from now on."""
        with self.lock:
            self.grow(topic, partitions)

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        headers: Headers = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> Message:
        """Write a record; it lies where its key says unless a partition is given."""
        with self.lock:
            number = self.topics[topic].choose(key) if partition is None else partition
            now = int(self.clock.time() * 1000)
            record = self.log(TopicPartition(topic, number)).append(
                value, key, as_bytes(headers), now if timestamp is None else timestamp
            )
            self.changed()
            return Message(record)

    def append_aborted(self, source: TopicPartition, value: bytes | None) -> Message:
        """Write a record of a transaction that is aborted; only `read_uncommitted` returns it."""
        with self.lock:
            log, transaction = self.log(source), object()
            record = log.append(value, None, (), int(self.clock.time() * 1000), transaction)
            log.end_transaction(transaction, commit=False)
            self.changed()
            return Message(record)

    def append_gap(self, source: TopicPartition, count: int = 1) -> None:
        """Use up offsets without a record, as control records and compaction do."""
        with self.lock:
            self.log(source).skip(count)

    def delete_records(self, source: TopicPartition, before: int) -> None:
        """Delete the records in front of an offset, as retention does."""
        with self.lock:
            self.log(source).truncate(before)
            self.changed()

    def records(self, topic: str) -> list[Message]:
        """All committed records of a topic, by partition and offset."""
        with self.lock:
            self.transactions.expire()
            return [
                Message(record)
                for log in self.topics[topic].logs
                for record in log.read(log.start, log.end, "read_committed")
            ]

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Copy the committed offsets of a group."""
        with self.lock:
            return {source: c.offset for source, c in self.group(group).committed.items()}

    def metadata(self, group: str, source: TopicPartition) -> str:
        """What is noted beside the committed offset of a partition."""
        with self.lock:
            return self.group(group).committed[source].metadata

    def commit(self, group: str, source: TopicPartition, offset: int, metadata: str = "") -> None:
        """Commit as a tool from elsewhere would."""
        with self.lock:
            self.group(group).committed[source] = Commit(offset, metadata)

    # --- faults ---

    def stop(self) -> None:
        """Answer nothing any more: polls are empty, deliveries wait, commits fail or wait."""
        with self.lock:
            self.up = False
            self.changed()

    def start(self) -> None:
        """Answer again."""
        with self.lock:
            self.up = True
            self.changed()

    def expire(self, consumer: MemoryConsumer) -> None:
        """Let the group take a member for dead: its partitions go to the others."""
        consumer.expire()

    # --- clients ---

    def consumer(self, group: str, *, isolation: Isolation = "read_committed") -> MemoryConsumer:
        """Make a consumer of a group."""
        with self.lock:
            self.consumers.append(MemoryConsumer(self, group, isolation))
            return self.consumers[-1]

    def producer(self, *, queue: int = 100_000) -> MemoryProducer:
        """Make a producer that holds at most `queue` records which are not reported yet."""
        with self.lock:
            self.producers.append(MemoryProducer(self, queue))
            return self.producers[-1]

    def transactional(
        self, identity: str, *, timeout: float = 30.0, queue: int = 100_000
    ) -> MemoryTransactional:
        """Make a producer of transactions, which are aborted after `timeout` seconds."""
        with self.lock:
            self.transactionals.append(MemoryTransactional(self, queue, identity, timeout))
            return self.transactionals[-1]

    def table(self) -> MemoryTable:
        """Make a reader of compacted topics."""
        return MemoryTable(self)

    def admin(self) -> MemoryAdmin:
        """Make an admin client."""
        return MemoryAdmin(self)


class MemoryAdmin:
    """Implements `ports.Admin`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def names(self) -> Sequence[str]:
        """List the topics."""
        self._require_broker()
        return list(self._broker.topics)

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe the topics that exist."""
        self._require_broker()
        known = {name: self._broker.topics[name] for name in topics if name in self._broker.topics}
        return {n: TopicInfo(len(t.logs), t.max_message_bytes) for n, t in known.items()}

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """Make topics; of the configuration only `max.message.bytes` has an effect."""
        self._require_broker()
        for name, topic in topics.items():
            limit = int(str(topic.config.get("max.message.bytes", MAX_MESSAGE_BYTES)))
            self._broker.create(name, topic.partitions or PARTITIONS, limit)

    def uncommitted(self, group: str, topics: Sequence[str]) -> Mapping[str, int]:
        """Count the offsets behind those that the group has committed."""
        self._require_broker()
        committed = self._broker.committed(group)
        return {
            name: sum(
                max(0, log.end_for("read_committed") - max(log.start, committed.get(log.source, 0)))
                for log in self._broker.topics[name].logs
            )
            for name in topics
            if name in self._broker.topics
        }

    def allowed(self, groups: Iterable[str]) -> Mapping[str, frozenset[str]]:  # noqa: ARG002
        """Tell of no group: everybody may do everything."""
        return {}

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Offsets:
        """Tell the ends; what does not exist is left out."""
        self._require_broker()
        with self._broker.lock:
            logs = (log for topic in self._broker.topics.values() for log in topic.logs)
            ends = {log.source: log.end_for(isolation) for log in logs}
        return {source: ends[source] for source in partitions if source in ends}

    def close(self) -> None:
        """Nothing is held."""

    def _require_broker(self) -> None:
        if not self._broker.up:
            raise BrokersUnreachable("no broker answers")
