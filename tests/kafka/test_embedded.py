"""The adapters work against the embedded broker, which drops nothing that fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.deliveries import Deliveries
from worker.errors import BrokersUnreachable, ClientError, QueueFull
from worker.kafka import config
from worker.kafka.admin import KafkaAdmin
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.producer import KafkaProducer
from worker.ports import Commits, Offsets
from worker.settings import KafkaSettings, Pipeline
from worker.types import Commit, Encoded, Message, TopicPartition

PIPELINE = Pipeline.model_validate({"from": "flights", "handler": "delays"})
NOWHERE = "127.0.0.1:1"
KEPT = 5 * 1024**2
"""Bytes of a partition that the embedded broker keeps."""


class Everything:
    """Reads every partition from its beginning."""

    def admitted(self) -> None: ...
    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        return dict.fromkeys(committed, 0)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None: ...
    def lost(self, partitions: Sequence[TopicPartition]) -> None: ...
    def offset_lost(self, partition: TopicPartition) -> None: ...
    def committed(self, commits: Commits, error: str | None) -> None: ...


class Refusing(Everything):
    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        raise LookupError(f"planted for {len(committed)} partitions")


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def settings(address: str) -> KafkaSettings:
    return KafkaSettings.model_validate({"brokers": address})


def fill(
    address: str, topic: str, values: Sequence[bytes], *, partition: int | None = None
) -> None:
    producer = KafkaProducer(config.producer(settings(address), {}))
    deliveries = Deliveries()
    for value in values:
        record = Encoded(topic, value, partition=partition)
        while not sent(producer, record, deliveries):
            producer.poll(0.1)
    producer.close(30)
    assert deliveries.errors == [None] * len(values)


def sent(producer: KafkaProducer, record: Encoded, deliveries: Deliveries) -> bool:
    try:
        producer.send([record], deliveries.stored, deliveries.failed)
    except QueueFull:
        return False
    return True


def read(consumer: KafkaConsumer, number: int) -> list[Message]:
    messages: list[Message] = []
    while len(messages) < number:
        for fetch in consumer.poll(100, 1.0):
            messages += map(Message, fetch.messages)
    return messages


def test_what_is_sent_is_read(broker: EmbeddedBroker) -> None:
    broker.create(["sent"])
    sent_values = [b"%d" % number for number in range(500)]
    fill(broker.address, "sent", sent_values)
    consumer = KafkaConsumer(config.consumer(settings(broker.address), "g", PIPELINE))

    consumer.subscribe(["sent"], Everything())
    values = {message.value for message in read(consumer, 500)}
    consumer.close()

    assert values == set(sent_values)
    assert broker.low_watermarks("sent") == [0] * broker.partitions


def test_low_watermarks_show_what_the_embedded_broker_has_dropped(broker: EmbeddedBroker) -> None:
    broker.create(["full"])

    fill(broker.address, "full", [bytes(KEPT // 10)] * 30, partition=1)

    dropped = broker.low_watermarks("full")
    assert dropped[0] == 0
    assert dropped[1] > 0


def test_an_exception_in_a_rebalance_is_raised_by_the_next_poll(broker: EmbeddedBroker) -> None:
    broker.create(["refused"])
    consumer = KafkaConsumer(config.consumer(settings(broker.address), "refusing", PIPELINE))
    consumer.subscribe(["refused"], Refusing())

    with pytest.raises(LookupError, match="planted for 4 partitions"):
        read(consumer, 1)

    consumer.close()


def test_the_connection_is_known_after_the_first_statistics(broker: EmbeddedBroker) -> None:
    broker.create(["idle"])
    consumer = KafkaConsumer(config.consumer(settings(broker.address), "idle", PIPELINE))
    consumer.subscribe(["idle"], Everything())

    before = consumer.connected
    while not consumer.connected:
        consumer.poll(1, 0.1)
    totals = consumer.totals()
    consumer.close()

    assert not before
    assert totals.responses > 0
    assert "UP" in totals.brokers.values()


@pytest.mark.parametrize("name", ["a\0b", "half \ud800"])
def test_a_header_name_that_the_client_would_spoil_is_refused(name: str) -> None:
    producer = KafkaProducer(config.producer(settings(NOWHERE), {}))
    deliveries = Deliveries()
    spoilt = Encoded("t", b"", headers=[(name, b"")])

    with pytest.raises(ClientError, match="header name"):
        producer.send([spoilt], deliveries.stored, deliveries.failed)
    producer.close(0)

    assert deliveries.errors == []


def test_records_that_are_dropped_at_the_end_are_reported_as_failed() -> None:
    producer = KafkaProducer(config.producer(settings(NOWHERE), {}))
    deliveries = Deliveries()
    for _ in range(5):
        producer.send([Encoded("t", b"")], deliveries.stored, deliveries.failed)

    producer.close(0)
    producer.close(0)

    # Not `None not in errors`: comparing a client's error with None leaves an exception behind.
    assert [error is None for error in deliveries.errors] == [False] * 5


def test_a_full_queue_takes_no_record() -> None:
    properties = config.producer(settings(NOWHERE), {})
    producer = KafkaProducer(properties | {"queue.buffering.max.messages": 2})
    deliveries = Deliveries()

    taken = [sent(producer, Encoded("t", b""), deliveries) for _ in range(3)]
    producer.close(0)

    assert taken == [True, True, False]
    assert len(deliveries.errors) == 2


def test_brokers_that_do_not_answer_are_named() -> None:
    admin = KafkaAdmin(settings(NOWHERE), timeout=0.5)

    with pytest.raises(BrokersUnreachable, match=r"no broker of 127\.0\.0\.1:1 answered"):
        admin.describe(["t"])


def test_admin_leaves_out_topics_that_do_not_exist(broker: EmbeddedBroker) -> None:
    broker.create(["known"])

    topics = KafkaAdmin(settings(broker.address)).describe(["known", "unknown"])

    assert {topic: info.partitions for topic, info in topics.items()} == {"known": 4}
