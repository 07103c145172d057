"""`Kafka`: what producers, consumers, members of groups and operators do, in one object."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from threading import Event, RLock, Thread
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer as ConsumerClient
from confluent_kafka import Producer as ProducerClient
from confluent_kafka.admin import AdminClient

from worker.errors import (
    ClientClosed,
    ClientError,
    ClientNotInitialized,
    ConsumerNotEnabled,
    ProducerNotEnabled,
)
from worker.kafka import arguments, config
from worker.kafka.activity import Activity
from worker.kafka.arguments import HeadersGiven
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.delivery import Delivery
from worker.kafka.failures import made
from worker.kafka.meter import ClientStats, Errors, broker_stats
from worker.kafka.reading import ByHand, Handler, Member, OnPartitions, Reading, Told
from worker.kafka.sending import Sender, acknowledged
from worker.kafka.tokens import Token, refresher
from worker.kafka.topics import TopicConfig, TopicMetadata, Topics
from worker.ports import Offsets, Place
from worker.settings import KafkaSettings
from worker.spec import load
from worker.types import Delivered, Encoded, Record, TopicPartition

log = logging.getLogger(__name__)

READER: Final = "stream-worker-client"
"""Group id of readers in no group: librdkafka wants one, and nothing is committed to it."""

SHORTEST_CLOSE: Final = 1.0
"""Seconds that a consumer gets to close, be the time-out over."""

_CLIENTS: Final[weakref.WeakSet[Kafka]] = weakref.WeakSet()


class Kafka:
    """One client of a Kafka cluster: sends, reads, joins groups and manages topics.

    `settings` is the part `kafka` of a spec, or the brokers' addresses alone; `token` gives tokens
    for OAUTHBEARER where the settings name no server for them. Connections are made at first use.
    Use it as a context manager, or call `close`. All methods are for any thread.

    Arguments are checked before the network is asked: `TypeError` and `ValueError` say what is
    legal. Everything else that can go wrong is a `ClientError`, which carries Kafka's error code,
    whether to try again, and what to do; each method names those of its own. All raise
    `ConnectionFailed`, `ClientClosed`, and `ClientNotInitialized` in a forked child.
    """

    def __init__(
        self, settings: KafkaSettings | str, *, token: Callable[[], Token] | None = None
    ) -> None:
        settings = arguments.settings(settings)
        self.settings: Final = settings
        self._extra = _token_properties(settings, token)
        self._lock = RLock()
        self._refusal: Callable[[], ClientError] | None = None
        self._errors = Errors()
        self._connect_time: datetime | None = None
        self._topics: Topics | None = None
        self._sender: Sender | None = None
        self._consumer: ConsumerClient | None = None
        self._activity = Activity()
        self._closed = Event()
        for warning in config.warnings(settings):
            log.warning("%s", warning)
        _CLIENTS.add(self)

    @classmethod
    def from_spec(cls, file: str | Path) -> Self:
        """A client of the cluster that a spec names; raises `BadConfiguration`."""
        return cls(load(Path(file), os.environ).spec.kafka)

    # --- sending ---

    def send(
        self,
        topic: str,
        value: bytes | str | None,
        key: bytes | str | None = None,
        headers: HeadersGiven | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
        timeout: float = 30.0,
    ) -> Delivered:
        """Send a record, and wait up to `timeout` seconds for its acknowledgement.

        Text is written as UTF-8; None is a tombstone. `timestamp` is milliseconds since 1970 or a
        datetime with its zone. Raises `SendFailed`, `TopicNotFound`, `InvalidPartition` and
        `ProducerNotEnabled`.
        """
        deadline = time.monotonic() + arguments.timeout(timeout)
        delivery = self.send_async(topic, value, key, headers, partition, timestamp, timeout)
        return acknowledged(delivery, deadline)

    def send_async(
        self,
        topic: str,
        value: bytes | str | None,
        key: bytes | str | None = None,
        headers: HeadersGiven | None = None,
        partition: int | None = None,
        timestamp: int | datetime | None = None,
        timeout: float = 30.0,
    ) -> Delivery:
        """Send a record and do not wait; the `Delivery` tells, or can be awaited.

        Where the queue is full, `timeout` is how many seconds to wait for room in it. What fails
        later is logged and counted besides. Raises as `send` does.
        """
        return self._producing().send(
            Encoded(
                topic if type(topic) is str else arguments.topic(topic),
                value if type(value) is bytes else arguments.payload("value", value),
                key if type(key) is bytes else arguments.payload("key", key),
                () if headers is None else arguments.headers(headers),
                None if partition is None else arguments.partition(partition),
                None if timestamp is None else arguments.timestamp(timestamp),
            ),
            timeout
            if type(timeout) is float and 0 <= timeout < inf
            else arguments.timeout(timeout),
        )

    def send_many(self, records: Sequence[Record], timeout: float = 30.0) -> list[Delivered]:
        """Send records, each with a `topic` of its own, and wait for all acknowledgements.

        Some may fail while others are delivered: `SendFailed` names each that failed, and its
        `delivered` and `failed` are keyed by the place in `records`. Raises as `send` does.
        """
        return self._producing().send_all(arguments.records(records), arguments.timeout(timeout))

    # --- reading ---

    def consume(
        self, topics: str | Sequence[str], handler: Handler, *, background: bool = False
    ) -> None:
        """Hand each message of all partitions of some topics to `handler(message)`, in no group.

        Begins at `consumer.offsets` of the settings, and reads until `stop_consume`: in the
        caller's thread, or with `background` in one of its own. Nothing is committed. When the
        handler raises, reading stops with `ConsumeFailed`: here, or in the background from
        `stop_consume`. Raises `TopicNotFound`, `AlreadyConsuming`, `InConsumerGroup` and
        `ConsumerNotEnabled`.
        """
        names, handler = arguments.topics(topics), arguments.handler(handler)

        def starts() -> Offsets:
            asked = self._asking()
            sources = [TopicPartition(n, p) for n in names for p in asked.partitions(n)]
            return asked.offsets(sources, self.settings.consumer.offsets)

        self._read(lambda: self._by_hand(starts(), handler), None, background=background)

    def consume_partition(
        self,
        topic: str,
        partition: int,
        offset: int | Place,
        handler: Handler,
        *,
        background: bool = False,
    ) -> None:
        """Hand each message of one partition to `handler(message)`, from a place on.

        `offset` is a number, `oldest`, `newest`, or a datetime with its zone: then it is the first
        message at or after it. Otherwise as `consume`; raises `InvalidPartition` besides.
        """
        source = TopicPartition(arguments.topic(topic), arguments.partition(partition))
        where, handler = arguments.place(offset), arguments.handler(handler)

        def starts() -> Offsets:
            self._asking().require(source)
            if isinstance(where, int):
                self._asking().require_offset(source, where)
                return {source: where}
            return self._asking().offsets([source], where)

        self._read(lambda: self._by_hand(starts(), handler), None, background=background)

    def stop_consume(self) -> None:
        """Stop `consume` or `consume_partition`; returns when the handler has.

        A handler may call it: then reading stops after its message. Raises `NotConsuming`, and the
        `ConsumeFailed` that has stopped reading in the background before.
        """
        self._usable()
        self._activity.stop_consuming()

    def join_group(
        self,
        group_id: str,
        topics: str | Sequence[str],
        handler: Handler,
        *,
        assigned: OnPartitions | None = None,
        revoked: OnPartitions | None = None,
        lost: OnPartitions | None = None,
        background: bool = False,
    ) -> None:
        """Join a consumer group and hand each message of the assigned partitions to `handler`.

        Reads until `leave_group`, in the caller's thread or with `background` in one of its own.
        At least once: offsets are committed after the handler, every second, and before partitions
        are given back. `assigned`, `revoked` and `lost` are told of partitions in the thread that
        reads. When the handler raises, its message is not committed, and the member leaves the
        group with `ConsumeFailed`; likewise once a topic that it has read was deleted and is there
        again, which only another member reads. Raises as `consume` does.
        """
        group = arguments.group(group_id)
        names, handler = arguments.topics(topics), arguments.handler(handler)
        told = Told(
            arguments.listener("assigned", assigned),
            arguments.listener("revoked", revoked),
            arguments.listener("lost", lost),
        )
        self._read(lambda: self._member(group, names, handler, told), group, background=background)

    def leave_group(self) -> None:
        """Leave the group after the message in hand, with what was handled committed.

        Raises `NotInConsumerGroup`, and the `ConsumeFailed` that has stopped reading in the
        background before.
        """
        self._usable()
        self._activity.leave()

    # --- topics ---

    def create_topic(
        self, name: str, topic: TopicConfig | None = None, *, validate_only: bool = False
    ) -> None:
        """Make a topic and wait until it can be used; or see only whether it could be made.

        Raises `ClientError` for what the cluster refuses, such as a name that is taken.
        """
        name = arguments.topic(name)
        config = TopicConfig() if topic is None else arguments.topic_config(topic)
        self._asking().create(name, config, validate_only=validate_only)

    def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records and wait until it is gone; raises `TopicNotFound`."""
        self._asking().delete(arguments.topic(name))
        if self._sender is not None:
            self._sender.forget()

    def list_topics(self) -> list[str]:
        """The topics that this user may see, but for those whose names begin with `__`."""
        return self._asking().names()

    def describe_topic(self, name: str) -> TopicMetadata:
        """Partitions with leaders, replicas, offsets, and settings; raises `TopicNotFound`."""
        return self._asking().describe(arguments.topic(name))

    def partitions(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions; raises `TopicNotFound`."""
        return self._asking().partitions(arguments.topic(topic))

    def offset(self, topic: str, partition: int, time: Place) -> int:
        """The offset of `oldest`, `newest`, or the first message at or after a time with its zone.

        `newest` is where the next message will be, for a reader with this client's isolation; so
        is a time beyond the last message. Raises `TopicNotFound` and `InvalidPartition`.
        """
        source = TopicPartition(arguments.topic(topic), arguments.partition(partition))
        place = arguments.moment(time)
        self._asking().require(source)
        return self._asking().offsets([source], place)[source]

    # --- the clients below ---

    @property
    def producer(self) -> ProducerClient:
        """The underlying producer, which any thread may use; its reports are served already."""
        return self._producing().main.producer.client

    @property
    def async_producer(self) -> ProducerClient:
        """The same as `producer`: librdkafka's only producer does not wait, so order is kept."""
        return self.producer

    @property
    def consumer(self) -> ConsumerClient:
        """An underlying consumer in no group, for you alone: only one thread may use it at a time.

        It is not the one of `consume`.
        """
        with self._lock:
            self._reading_enabled()
            if self._consumer is None:
                properties = self._consumer_properties(READER)
                self._consumer = made(lambda: ConsumerClient(properties))
            return self._consumer

    @property
    def group_consumer(self) -> ConsumerClient:
        """The underlying consumer of the group; it belongs to the thread that reads.

        So use it in the handler or in `assigned`, `revoked` and `lost` only. Raises
        `NotInConsumerGroup`.
        """
        self._reading_enabled()
        return self._activity.member().client

    @property
    def admin(self) -> AdminClient:
        """The underlying admin client, which any thread may use."""
        return self._asking().client

    # --- state ---

    def stats(self) -> ClientStats:
        """What the client has done since it was made."""
        self._usable()
        sender, consumer = self._sender, self._activity.consumer
        producer = None if sender is None else sender.main.producer
        clients = [one for one in (consumer, producer) if one is not None]
        sent, sent_bytes = (0, 0) if sender is None else sender.sent
        handled, size = self._activity.handled
        reached = self._topics is not None and self._topics.reached
        return ClientStats(
            connected=reached or any(one.connected for one in clients),
            connect_time=self._connect_time,
            messages_sent=sent,
            messages_received=handled,
            bytes_sent=sent_bytes,
            bytes_received=size,
            errors=self._errors.count,
            last_error=self._errors.last,
            last_error_time=self._errors.last_time,
            active_consumers=sum(one is not None for one in (consumer, self._consumer)),
            active_producers=0 if producer is None else 1,
            brokers=broker_stats([one.totals() for one in clients]),
        )

    def ping(self, timeout: float = 5.0) -> float:
        """Ask the cluster for a sign of life; returns the seconds that it took."""
        begun = time.monotonic()
        self._asking().ping(arguments.timeout(timeout))
        return time.monotonic() - begun

    def close(self, timeout: float = 10.0) -> None:
        """Stop reading, deliver what is queued, and let go of all connections; idempotent.

        Returns within about `timeout` seconds: records that are not delivered by then fail, and a
        handler that still runs is left to itself.
        """
        deadline = time.monotonic() + arguments.timeout(timeout)
        with self._lock:
            begun = self._refusal is not None
            self._refusal = self._refusal or partial(ClientClosed, "the client is closed")
        if not begun:
            self._let_go(deadline)
            self._closed.set()
        elif not self._activity.is_mine:
            self._closed.wait(timeout)

    def __enter__(self) -> Self:
        self._usable()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Kafka({','.join(self.settings.brokers)})"

    # --- details ---

    def _let_go(self, deadline: float) -> None:
        def left() -> float:
            return max(0.0, deadline - time.monotonic())

        if not self._activity.close(left()):
            log.error("a handler did not return in time and is left to itself")
        if self._sender is not None:
            self._sender.close(left())
        if self._consumer is not None:
            closing = Thread(target=self._consumer.close, daemon=True)  # another thread may poll it
            closing.start()
            closing.join(left() or SHORTEST_CLOSE)
        self._topics = self._sender = self._consumer = None

    def _usable(self) -> None:
        if self._refusal is not None:
            raise self._refusal()

    def _asking(self) -> Topics:
        self._usable()
        with self._lock:
            if self._topics is None:
                self._topics = Topics(
                    self.settings, self._extra, self._errors.note, self._on_connected
                )
            return self._topics

    def _producing(self) -> Sender:
        if self._refusal is None and self._sender is not None:
            return self._sender
        self._usable()
        if not self.settings.producer.enabled:
            raise ProducerNotEnabled("this client does not send")
        with self._lock:
            if self._sender is None:
                properties = {**config.producer(self.settings, {}), **self._extra}
                info, errors = self._asking().info, self._errors
                self._sender = made(
                    lambda: Sender(properties, info, errors.note, errors.note_failure)
                )
            return self._sender

    def _reading_enabled(self) -> None:
        self._usable()
        if not self.settings.consumer.enabled:
            raise ConsumerNotEnabled("this client does not read")

    def _read(self, make: Callable[[], Reading], group: str | None, *, background: bool) -> None:
        self._reading_enabled()
        self._activity.begin(make, group, background=background)

    def _by_hand(self, starts: Offsets, handler: Handler) -> Reading:
        consumer = self._made_consumer(READER)
        session = ByHand()
        consumer.assign(starts, session)
        return Reading(consumer, session, handler, self._errors.note_failure)

    def _member(self, group: str, topics: Sequence[str], handler: Handler, told: Told) -> Reading:
        for topic in topics:
            self._asking().partitions(topic)
        consumer = self._made_consumer(group, self.settings.group.instance)
        session = Member(consumer, self.settings.consumer.offsets, told)
        consumer.subscribe(topics, session)
        return Reading(consumer, session, handler, self._errors.note_failure)

    def _made_consumer(self, group: str, instance: str | None = None) -> KafkaConsumer:
        properties = self._consumer_properties(group, instance)
        return made(lambda: KafkaConsumer(properties, self._errors.note))

    def _consumer_properties(self, group: str, instance: str | None = None) -> config.Properties:
        isolation = self.settings.consumer.isolation
        return {**config.member(self.settings, group, isolation, instance), **self._extra}

    def _on_connected(self) -> None:
        self._connect_time = self._connect_time or datetime.now(UTC)


def _token_properties(
    settings: KafkaSettings, token: Callable[[], Token] | None
) -> config.Properties:
    wanted = settings.security.mechanism == "OAUTHBEARER" and settings.security.oauth is None
    if wanted and token is None:
        raise ValueError("OAUTHBEARER needs security.oauth in the settings, or token=a function")
    if token is not None and not wanted:
        raise ValueError("token is for the mechanism OAUTHBEARER without security.oauth")
    return {} if token is None else {"oauth_cb": refresher(token)}


def _poison() -> None:
    """A forked child has the clients' memory but not their threads: nothing would ever be sent."""
    for client in list(_CLIENTS):
        text = f"{client!r} belongs to the process that this one was forked from"
        client._refusal = partial(ClientNotInitialized, text)  # noqa: SLF001 - our own


os.register_at_fork(after_in_child=_poison)
