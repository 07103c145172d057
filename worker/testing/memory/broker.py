"""Kafka in memory: a log, groups, rebalances and delivery errors behind the worker's own ports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from worker.errors import BrokersUnreachable, TopicsRefused
from worker.flow.layout import as_kafka_writes
from worker.ports import Clock, NewTopic, Offsets
from worker.settings import GroupSettings, ProducerSettings
from worker.testing.memory.cluster import Cluster, Topic
from worker.testing.memory.consumer import MemoryConsumer
from worker.testing.memory.producer import BATCH_BYTES, QUEUE, SENDING, MemoryProducer, as_bytes
from worker.testing.memory.table import MemoryTable
from worker.testing.memory.transactional import MemoryTransactional
from worker.types import Commit, Headers, Isolation, Message, TopicInfo, TopicPartition

MAX_MESSAGE_BYTES = 1_048_588
"""What a broker takes when nothing else is configured."""
PARTITIONS = 4
"""Partitions of a topic for which no number is given."""
GROUP = GroupSettings()
"""How a group is led where nothing else is said, as in a spec."""
NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
"""Names that a topic may have."""
ILLEGAL = "TOPIC_EXCEPTION: a name has 249 letters, digits, '.', '_' and '-' at most"


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
        self,
        topic: str,
        partitions: int = PARTITIONS,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        config: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Make a topic; one that exists already is left as it is."""
        with self.lock:
            if topic not in self.topics:
                self.topics[topic] = Topic([], max_message_bytes, config)
                self.grow(topic, partitions)

    def delete(self, topic: str) -> None:
        """Delete a topic, and what groups have committed in it."""
        with self.lock:
            del self.topics[topic]
            for group in self.groups.values():
                group.forget(topic)
            self.relist()

    def compact(self, topic: str) -> None:
        """Keep the last record of each key; those of keys without a value stay as well."""
        with self.lock:
            for log in self.topics[topic].logs:
                log.compact()
            self.changed()

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
            known = self.topics[topic]
            number = known.choose(key) if partition is None else partition
            record = self.log(TopicPartition(topic, number)).append(
                value, key, as_bytes(headers), known.dated(timestamp, self.now())
            )
            self.changed()
            return Message(record)

    def append_aborted(self, source: TopicPartition, value: bytes | None) -> Message:
        """Write a record of a transaction that is aborted; only `read_uncommitted` returns it."""
        with self.lock:
            log, transaction = self.log(source), object()
            record = log.append(value, None, (), self.now(), transaction)
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
            sources = [log.source for log in self.topics[topic].logs]
            return [record for source in sources for record in self.records_of(source)]

    def records_of(self, source: TopicPartition) -> list[Message]:
        """All committed records of a partition, by offset."""
        with self.lock:
            log = self.log(source)
            return [*map(Message, log.read(log.start, log.end, "read_committed"))]

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

    @property
    def written(self) -> int:
        """How many records were written, deleted ones included."""
        return sum(log.end for topic in self.topics.values() for log in topic.logs)

    @property
    def due(self) -> float:
        """When time is over for a transaction, or a record on its way; infinite without any."""
        producers = [*self.producers, *self.transactionals]
        return min([self.transactions.due, *(one.due for one in producers)])

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

    def consumer(
        self,
        group: str,
        *,
        isolation: Isolation = "read_committed",
        settings: GroupSettings = GROUP,
        instance: str | None = None,
    ) -> MemoryConsumer:
        """Make a consumer of a group, a static member where it has an `instance`.

        A group is led as the `settings` of its first member say.
        """
        with self.lock:
            self.consumers.append(MemoryConsumer(self, group, isolation, settings, instance))
            return self.consumers[-1]

    def producer(
        self,
        *,
        queue: int = QUEUE,
        settings: ProducerSettings = SENDING,
        batch_bytes: int = BATCH_BYTES,
    ) -> MemoryProducer:
        """Make a producer that holds at most `queue` records which are not reported yet."""
        with self.lock:
            self.producers.append(MemoryProducer(self, queue, settings, batch_bytes))
            return self.producers[-1]

    def transactional(
        self,
        identity: str,
        *,
        timeout: float = 30.0,
        queue: int = QUEUE,
        settings: ProducerSettings = SENDING,
        batch_bytes: int = BATCH_BYTES,
    ) -> MemoryTransactional:
        """Make a producer of transactions, which are aborted after `timeout` seconds."""
        with self.lock:
            made = MemoryTransactional(self, queue, identity, timeout, settings, batch_bytes)
            self.transactionals.append(made)
            return made

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
        return {
            name: TopicInfo(len(topic.logs), topic.max_message_bytes, config=topic.config)
            for name, topic in known.items()
        }

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """Make topics; see `cluster.Topic` for what their configuration does."""
        self._require_broker()
        for name, topic in topics.items():
            if NAME.fullmatch(name):
                config = {key: as_kafka_writes(value) for key, value in topic.config.items()}
                limit = int(config.get("max.message.bytes", MAX_MESSAGE_BYTES))
                self._broker.create(name, topic.partitions or PARTITIONS, limit, config)
        refused = {name: ILLEGAL for name in topics if not NAME.fullmatch(name)}
        if refused:
            raise TopicsRefused(refused)

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
