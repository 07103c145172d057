"""Records that the client sends are where it says, as they were given."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from threading import Event, Lock

import pytest

from tests.client.rig import DEADLINE, unique, until
from tests.system.rig import Kafka as Cluster
from worker import Kafka, KafkaSettings, Record, TopicConfig
from worker.errors import InvalidPartition, ProducerNotEnabled, SendFailed, TopicNotFound
from worker.kafka.delivery import Delivery

pytestmark = pytest.mark.kafka

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def cluster(kafka_address: str) -> Cluster:
    return Cluster(kafka_address)


@pytest.fixture
def small(client: Kafka) -> str:
    """A topic of one partition that takes records of up to 1,000 bytes."""
    name = unique("small")
    client.create_topic(name, TopicConfig(1, config={"max.message.bytes": 1000}))
    return name


def test_a_record_is_where_its_delivery_says(client: Kafka, topic: str, cluster: Cluster) -> None:
    delivered = client.send(topic, b"value", key=b"key", partition=1, timestamp=NOON)

    (message,) = cluster.read(topic)
    assert delivered == (topic, 1, 0, int(NOON.timestamp() * 1000))
    assert (message.partition(), message.offset(), message.timestamp()[1]) == delivered[1:]
    assert (message.key(), message.value()) == (b"key", b"value")


def test_texts_are_sent_as_utf_8(client: Kafka, topic: str, cluster: Cluster) -> None:
    client.send(topic, "grüß", key="ключ", headers=[("naïve", "ü"), ("raw", b"\xff")])

    (message,) = cluster.read(topic)
    assert (message.value(), message.key()) == ("grüß".encode(), "ключ".encode())
    assert message.headers() == [("naïve", "ü".encode()), ("raw", b"\xff")]


def test_headers_keep_their_order_and_repetitions_and_missing_values(
    client: Kafka, topic: str, cluster: Cluster
) -> None:
    client.send(topic, b"", headers=[("b", b"1"), ("a", None), ("b", b"")])

    (message,) = cluster.read(topic)
    assert message.headers() == [("b", b"1"), ("a", None), ("b", b"")]


def test_a_tombstone_is_not_an_empty_value(client: Kafka, topic: str, cluster: Cluster) -> None:
    client.send(topic, None, key="gone", partition=0)
    client.send(topic, b"", key="empty", partition=0)

    assert [message.value() for message in cluster.read(topic)] == [None, b""]


def test_records_that_are_sent_without_waiting_stay_in_order(
    client: Kafka, topic: str, cluster: Cluster
) -> None:
    deliveries = [client.send_async(topic, f"{number}", key="k") for number in range(2_000)]

    offsets = [delivery.result(DEADLINE).offset for delivery in deliveries]

    assert offsets == list(range(2_000))
    assert [message.value() for message in cluster.read(topic)] == [
        b"%d" % number for number in range(2_000)
    ]


def test_a_delivery_can_be_awaited_and_calls_back(client: Kafka, topic: str) -> None:
    called: list[Delivery] = []
    done = Event()

    async def send() -> int:
        delivery = client.send_async(topic, "x", partition=2)
        delivery.add_done_callback(called.append)
        delivery.add_done_callback(lambda _: done.set())
        return (await delivery).partition

    assert asyncio.run(send()) == 2
    assert done.wait(DEADLINE)
    assert [delivery.result().offset for delivery in called] == [0]


def test_a_callback_may_send_and_wait(client: Kafka, topic: str) -> None:
    offsets, done = list[int](), Event()

    def send_again(_delivery: Delivery) -> None:
        offsets.append(client.send(topic, "second", partition=0, timeout=DEADLINE).offset)
        done.set()

    client.send_async(topic, "first", partition=0).add_done_callback(send_again)

    assert done.wait(DEADLINE)
    assert offsets == [1]


def test_a_callback_may_close_its_client(topic: str, client: Kafka, kafka_address: str) -> None:
    other, done = Kafka(kafka_address), Event()

    def close(_delivery: Delivery) -> None:
        other.close()
        done.set()

    other.send(topic, "first")
    pending = [other.send_async(topic, "x", partition=0) for _ in range(100)]
    pending[0].add_done_callback(close)

    assert done.wait(DEADLINE)
    assert {one.exception(0) for one in pending} == {None}


def test_a_callback_that_waits_for_the_closer_does_not_hold_it(
    topic: str, client: Kafka, kafka_address: str
) -> None:
    other, lock, waits = Kafka(kafka_address), Lock(), Event()

    def wait(_delivery: Delivery) -> None:
        waits.set()
        with lock:
            pass

    with lock:
        other.send_async(topic, "x").add_done_callback(wait)
        assert waits.wait(DEADLINE)
        other.close(timeout=0.5)


def test_a_record_that_is_refused_later_is_logged_and_counted_and_in_its_delivery(
    client: Kafka, small: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        failed = client.send_async(small, b"x" * 2000).exception(DEADLINE)

    assert failed is not None
    assert (failed.code, failed.retriable) == (10, False)
    assert "raise max.message.bytes of the topic" in str(failed)
    assert f"a record for {small} was not delivered: MSG_SIZE_TOO_LARGE" in caplog.text
    assert client.stats().errors == 1
    assert client.stats().last_error == str(failed)
    with pytest.raises(SendFailed, match="MSG_SIZE_TOO_LARGE"):
        client.send(small, b"x" * 2000)


def test_a_batch_is_delivered_in_its_order(client: Kafka, topic: str) -> None:
    records = [Record(f"{number}", topic=topic, partition=number % 3) for number in range(6)]

    delivered = client.send_many(records)

    assert [(one.partition, one.offset) for one in delivered] == [
        (0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)
    ]  # fmt: skip


def test_a_batch_that_fails_in_part_names_each_failure_and_delivers_the_others(
    client: Kafka, topic: str, small: str
) -> None:
    missing = unique("missing")
    records = [
        Record("good", topic=topic),
        Record("x" * 2000, topic=small),
        Record("lost", topic=missing),
        Record("nowhere", topic=topic, partition=7),
        Record("good", topic=small),
    ]

    with pytest.raises(SendFailed, match="3 of 5 records were not delivered") as caught:
        client.send_many(records)

    failed, delivered = caught.value.failed, caught.value.delivered
    assert {index: type(one.__cause__) for index, one in failed.items()} == {
        1: type(None),
        2: TopicNotFound,
        3: InvalidPartition,
    }
    assert {index: one.topic for index, one in delivered.items()} == {0: topic, 4: small}
    assert all(f"record {index}: " in str(caught.value) for index in failed)
    assert client.offset(small, 0, "newest") == 1


def test_a_batch_of_nothing_delivers_nothing(client: Kafka) -> None:
    assert client.send_many([]) == []


def test_a_topic_that_was_deleted_is_not_found_any_more_and_found_when_it_is_back(
    client: Kafka, topic: str
) -> None:
    client.send(topic, "before")

    client.delete_topic(topic)
    with pytest.raises(TopicNotFound):
        client.send(topic, "gone")
    client.create_topic(topic)

    assert client.send(topic, "back").offset == 0


def test_a_partition_that_was_added_can_be_sent_to(client: Kafka, topic: str) -> None:
    from confluent_kafka.cimpl import NewPartitions  # noqa: PLC0415 - typed nowhere else

    with pytest.raises(InvalidPartition, match="has no partition 3; legal are 0 to 2"):
        client.send(topic, "too early", partition=3)

    client.admin.create_partitions([NewPartitions(topic, 4)])[topic].result()
    until(lambda: client.partitions(topic) == [0, 1, 2, 3])

    assert client.send(topic, "x", partition=3).partition == 3


def test_a_client_that_is_not_to_send_says_so(kafka_address: str) -> None:
    settings = KafkaSettings.model_validate(
        {"brokers": kafka_address, "producer": {"enabled": False}}
    )
    with Kafka(settings) as client:
        for send in (
            lambda: client.send("t", "x"),
            lambda: client.send_async("t", "x"),
            lambda: client.send_many([Record("x", topic="t")]),
            lambda: client.producer,
        ):
            with pytest.raises(ProducerNotEnabled, match=r"set producer\.enabled to true"):
                send()
