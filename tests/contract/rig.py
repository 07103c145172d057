"""A Kafka to hold the contract against: one in memory, one real."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from confluent_kafka import Consumer as RawConsumer
from confluent_kafka import Producer as Client
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from worker.kafka import config
from worker.kafka.admin import KafkaAdmin
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.partitions import committable
from worker.kafka.producer import KafkaProducer
from worker.kafka.table import KafkaTable
from worker.kafka.transactional import KafkaTransactional
from worker.ports import Admin, Commits, Consumer, Producer, Table, Transactional
from worker.settings import (
    GroupSettings,
    KafkaSettings,
    MetadataSettings,
    Pipeline,
    ProducerSettings,
)
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.consumer import MemoryConsumer
from worker.types import Headers, Isolation, TopicPartition

NOBODY: Final = "127.0.0.1:1"
"""Where no broker answers."""

QUICKLY: Final = {"statistics.interval.ms": 100}
"""What a client says of itself comes once a second by default."""

LOOKS_OFTEN: Final = MetadataSettings(refresh=0.5)
"""For members that find by themselves which partitions there are; else the brokers tell them."""

_numbers = itertools.count()


def unique(kind: str) -> str:
    """A name that no other test uses."""
    return f"{kind}-{os.getpid()}-{next(_numbers)}"


@dataclass(frozen=True)
class Layout:
    """How a test wants its topic; implements `ports.NewTopic`."""

    partitions: int | None = 1
    replication: int | None = 1
    config: Mapping[str, str] = field(default_factory=dict)


class Rig(Protocol):
    """What the suite needs besides the ports."""

    def consumer(
        self,
        group: str,
        *,
        isolation: Isolation = "read_committed",
        instance: str | None = None,
        mortal: bool = False,
    ) -> Consumer:
        """A consumer; one that is `mortal` may `fall_silent`."""
        ...

    def stranded_consumer(self) -> Consumer:
        """A consumer whose broker does not answer."""
        ...

    def producer(
        self, *, queue: int = 1000, alone: bool = False, timeout: float = 30.0
    ) -> Producer:
        """A producer whose calls of `send` are a batch each, for each partition.

        One that is `alone` sends each record in a batch of its own.
        """
        ...

    def stranded_producer(self, *, timeout: float = 30.0) -> Producer:
        """A producer whose broker does not answer."""
        ...

    def transactional(
        self, identity: str, *, timeout: float = 30.0, queue: int = 1000
    ) -> Transactional: ...
    def stranded_transactional(self) -> Transactional:
        """A producer of transactions whose broker does not answer."""
        ...

    def table(self) -> Table: ...
    def stranded_table(self) -> Table:
        """A reader whose broker does not answer."""
        ...

    def admin(self) -> Admin: ...
    def stranded_admin(self) -> Admin:
        """One whose broker does not answer."""
        ...

    def append(
        self,
        source: TopicPartition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
    ) -> None: ...
    def append_transaction(self, source: TopicPartition, value: bytes) -> None:
        """Write a record and the control record of its commit."""

    def append_aborted(self, source: TopicPartition, value: bytes) -> None:
        """Write a record and the control record of its abort."""

    def open_offsets(self, group: str, commits: Commits) -> AbstractContextManager[None]:
        """Have offsets in a transaction that is open, and aborted in the end.

        They are those of a group without members.
        """
        ...

    def delete_records(self, source: TopicPartition, before: int) -> None: ...
    def compact(self, topic: str) -> None:
        """Let a compacted topic be compacted, sooner or later."""

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Let a topic have so many partitions."""

    def delete(self, topic: str) -> None:
        """Delete a topic; when this returns, every broker knows of it."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass, where it does not pass by itself while clients are polled."""

    def fall_silent(self, consumer: Consumer) -> None:
        """Let the group take a consumer that is polled no more for dead."""


class MemoryRig:
    def __init__(self, group: GroupSettings) -> None:
        self._clock = ManualClock(time.time())
        self._broker = MemoryBroker(self._clock)
        self._group = group

    def consumer(
        self,
        group: str,
        *,
        isolation: Isolation = "read_committed",
        instance: str | None = None,
        mortal: bool = False,  # noqa: ARG002
    ) -> Consumer:
        return self._broker.consumer(
            group, isolation=isolation, settings=self._group, instance=instance
        )

    def stranded_consumer(self) -> Consumer:
        return _stopped().consumer("group")

    def producer(
        self, *, queue: int = 1000, alone: bool = False, timeout: float = 30.0
    ) -> Producer:
        settings = ProducerSettings(batch_messages=1 if alone else 10_000, delivery_timeout=timeout)
        return self._broker.producer(queue=queue, settings=settings)

    def stranded_producer(self, *, timeout: float = 30.0) -> Producer:
        producer = self._broker.producer(settings=ProducerSettings(delivery_timeout=timeout))
        producer.hold_deliveries()
        return producer

    def transactional(
        self, identity: str, *, timeout: float = 30.0, queue: int = 1000
    ) -> Transactional:
        return self._broker.transactional(identity, timeout=timeout, queue=queue)

    def stranded_transactional(self) -> Transactional:
        return _stopped().transactional("identity")

    def table(self) -> Table:
        return self._broker.table()

    def stranded_table(self) -> Table:
        return _stopped().table()

    def admin(self) -> Admin:
        return self._broker.admin()

    def stranded_admin(self) -> Admin:
        return _stopped().admin()

    def append(
        self,
        source: TopicPartition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
    ) -> None:
        self._broker.append(
            source.topic,
            value,
            key,
            headers=headers,
            partition=source.partition,
            timestamp=timestamp,
        )

    def append_transaction(self, source: TopicPartition, value: bytes) -> None:
        self.append(source, value)
        self._broker.append_gap(source)

    def append_aborted(self, source: TopicPartition, value: bytes) -> None:
        self._broker.append_aborted(source, value)

    @contextmanager
    def open_offsets(self, group: str, commits: Commits) -> Iterator[None]:
        transactions, owner = self._broker.transactions, object()
        transactions.transaction(owner, 30.0).offsets.append((self._broker.group(group), commits))
        yield
        transactions.end(owner, commit=False)

    def delete_records(self, source: TopicPartition, before: int) -> None:
        self._broker.delete_records(source, before)

    def compact(self, topic: str) -> None:
        self._broker.compact(topic)

    def add_partitions(self, topic: str, partitions: int) -> None:
        self._broker.add_partitions(topic, partitions)

    def delete(self, topic: str) -> None:
        self._broker.delete(topic)

    def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def fall_silent(self, consumer: Consumer) -> None:
        assert isinstance(consumer, MemoryConsumer)
        consumer.expire()


class KafkaRig:
    def __init__(self, address: str, group: GroupSettings) -> None:
        looks = MetadataSettings() if group.protocol == "consumer" else LOOKS_OFTEN
        self._settings = KafkaSettings(brokers=address.split(","), group=group, metadata=looks)
        self._raw: dict[str, str | int | float | bool] = {
            "bootstrap.servers": address,
            "log_level": 0,
        }
        self._admin = KafkaAdmin(self._settings)
        self._operator = AdminClient(self._raw)
        self._client = self._writer()

    def consumer(
        self,
        group: str,
        *,
        isolation: Isolation = "read_committed",
        instance: str | None = None,
        mortal: bool = False,
    ) -> Consumer:
        properties = self._member(group, isolation)
        if mortal:
            properties["max.poll.interval.ms"] = 2000
        if mortal and "session.timeout.ms" in properties:
            properties["session.timeout.ms"] = 2000
        if instance is not None:
            properties["group.instance.id"] = instance
        return KafkaConsumer(properties)

    def stranded_consumer(self) -> Consumer:
        properties = self._member("group", "read_committed")
        return KafkaConsumer(properties | {"bootstrap.servers": NOBODY})

    def producer(
        self, *, queue: int = 1000, alone: bool = False, timeout: float = 30.0
    ) -> Producer:
        patience = {"linger.ms": 50, "delivery.timeout.ms": round(timeout * 1000)}
        properties = config.producer(self._settings, {}) | QUICKLY | patience
        if alone:
            properties = config.alone(properties)
        return KafkaProducer(properties | {"queue.buffering.max.messages": queue})

    def stranded_producer(self, *, timeout: float = 30.0) -> Producer:
        properties = config.producer(self._settings, {})
        patience = {"delivery.timeout.ms": round(timeout * 1000), "bootstrap.servers": NOBODY}
        return KafkaProducer(properties | patience)

    def transactional(
        self, identity: str, *, timeout: float = 30.0, queue: int = 1000
    ) -> Transactional:
        properties = config.transactional(self._settings, {}, identity, timeout)
        return KafkaTransactional(properties | {"queue.buffering.max.messages": queue})

    def stranded_transactional(self) -> Transactional:
        properties = config.transactional(self._settings, {}, unique("identity"), 30.0)
        return KafkaTransactional(properties | {"bootstrap.servers": NOBODY})

    def table(self) -> Table:
        return KafkaTable(self._settings, unique("group"))

    def stranded_table(self) -> Table:
        return KafkaTable(KafkaSettings(brokers=[NOBODY]), "group")

    def admin(self) -> Admin:
        return self._admin

    def stranded_admin(self) -> Admin:
        return KafkaAdmin(KafkaSettings(brokers=[NOBODY]), timeout=0.5)

    def append(
        self,
        source: TopicPartition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
    ) -> None:
        self._client.produce(
            source.topic,
            value,
            key,
            source.partition,
            headers=list(headers),
            timestamp=timestamp or 0,
            on_delivery=_require_delivery,
        )
        assert self._client.flush(30) == 0

    def append_transaction(self, source: TopicPartition, value: bytes) -> None:
        with self._until_marked(source):
            self._transaction(source, value).commit_transaction(30)

    def append_aborted(self, source: TopicPartition, value: bytes) -> None:
        with self._until_marked(source):
            self._transaction(source, value).abort_transaction(30)

    @contextmanager
    def open_offsets(self, group: str, commits: Commits) -> Iterator[None]:
        client = self._transacting()
        outside = RawConsumer(self._raw | {"group.id": group})
        client.send_offsets_to_transaction(
            committable(commits), outside.consumer_group_metadata(), 30
        )
        yield
        client.abort_transaction(30)
        outside.close()

    def delete_records(self, source: TopicPartition, before: int) -> None:
        for future in self._operator.delete_records([ClientPartition(*source, before)]).values():
            future.result(30)

    def compact(self, topic: str) -> None:
        """The brokers' cleaner does it."""

    def add_partitions(self, topic: str, partitions: int) -> None:
        answers = self._operator.create_partitions([NewPartitions(topic, partitions)])
        answers[topic].result(30)
        while len(self._client.list_topics(topic, 30).topics[topic].partitions) < partitions:
            pass

    def delete(self, topic: str) -> None:
        self._operator.delete_topics([topic])[topic].result(30)
        self._client = self._writer()  # one that knows the topic can take one made anew for it

    def pass_time(self, seconds: float) -> None:
        """It passes by itself."""

    def fall_silent(self, consumer: Consumer) -> None:
        """`max.poll.interval.ms` does it."""

    def _member(self, group: str, isolation: Isolation) -> config.Properties:
        pipeline = Pipeline.model_validate(
            {"from": "unused", "handler": "unused", "isolation": isolation}
        )
        return config.consumer(self._settings, group, pipeline) | QUICKLY

    @contextmanager
    def _until_marked(self, source: TopicPartition) -> Iterator[None]:
        """Wait for the control record: the coordinator answers before it has written that."""
        before = self._end(source)
        yield
        deadline = time.monotonic() + 30
        while self._end(source) < before + 2:
            assert time.monotonic() < deadline, "the transaction's control record was not written"

    def _end(self, source: TopicPartition) -> int:
        consumer = RawConsumer(self._raw | {"group.id": unique("end")})
        _, end = consumer.get_watermark_offsets(ClientPartition(*source), timeout=30)
        consumer.close()
        return int(end)

    def _writer(self) -> Client:
        return Client(self._raw | {"linger.ms": 0})

    def _transacting(self) -> Any:
        client = Client(self._raw | {"transactional.id": unique("transaction")})
        client.init_transactions(30)
        client.begin_transaction()
        return client

    def _transaction(self, source: TopicPartition, value: bytes) -> Any:
        client = self._transacting()
        client.produce(source.topic, value, partition=source.partition)
        client.flush(30)
        return client


def _stopped() -> MemoryBroker:
    broker = MemoryBroker(ManualClock())
    broker.create("topic")
    broker.stop()
    return broker


def _require_delivery(error: object, _message: object) -> None:
    assert error is None, error
