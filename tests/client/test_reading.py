"""Reading partitions by hand, in no group."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as ClientPartition

from tests.client.rig import DEADLINE, Inbox, unique, until, values
from worker import Kafka, KafkaSettings, Message, TopicConfig
from worker.errors import (
    AlreadyConsuming,
    ClientClosed,
    ConsumeFailed,
    ConsumerNotEnabled,
    InConsumerGroup,
    NotConsuming,
    NotInConsumerGroup,
)

pytestmark = pytest.mark.kafka

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def reader(address: str, **consumer: str) -> Kafka:
    return Kafka(KafkaSettings.model_validate({"brokers": address, "consumer": consumer}))


def fill(client: Kafka, topic: str, number: int) -> None:
    for one in range(number):
        client.send_async(topic, f"{one}", partition=0, timestamp=NOON + timedelta(minutes=one))
    client.producer.flush(DEADLINE)


def test_all_partitions_of_several_topics_are_read_from_now_on(client: Kafka, topic: str) -> None:
    other = unique("other")
    client.create_topic(other, TopicConfig(2))
    client.send(topic, "before")
    inbox = Inbox()

    client.consume([topic, other], inbox, background=True)
    for partition in range(3):
        client.send(topic, f"{partition}", partition=partition)
    client.send(other, "other", partition=1)

    assert sorted(values(inbox.take(4))) == [b"0", b"1", b"2", b"other"]  # type: ignore[type-var]
    client.stop_consume()
    assert inbox.is_empty


def test_reading_begins_at_the_oldest_where_the_settings_say_so(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    fill(client, topic, 3)
    inbox = Inbox()

    with reader(kafka_address, offsets="oldest") as other:
        other.consume(topic, inbox, background=True)

        assert values(inbox.take(3)) == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("place", "first"),
    [
        (2, 2),
        ("oldest", 0),
        ("newest", 4),
        (NOON + timedelta(minutes=3), 3),
        (NOON + timedelta(days=1), 4),
    ],
)
def test_a_partition_is_read_from_a_place_on(
    client: Kafka, topic: str, place: int | str | datetime, first: int
) -> None:
    fill(client, topic, 4)
    inbox = Inbox()

    client.consume_partition(topic, 0, place, inbox, background=True)  # type: ignore[arg-type]
    client.send(topic, "4", partition=0)

    assert values(inbox.take(5 - first)) == [b"%d" % one for one in range(first, 5)]


def test_reading_in_the_foreground_ends_when_the_handler_stops_it(
    client: Kafka, topic: str
) -> None:
    fill(client, topic, 5)
    seen = []

    def handle(message: Message) -> None:
        seen.append(message.offset)
        if message.offset == 2:
            client.stop_consume()

    client.consume_partition(topic, 0, "oldest", handle)

    assert seen == [0, 1, 2]
    assert client.stats().messages_received == 3
    assert client.stats().active_consumers == 0


def test_stopping_waits_for_the_handler(client: Kafka, topic: str) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def handle(_message: Message) -> None:
        begun.set()
        go_on.wait(DEADLINE)
        ended.set()

    client.send(topic, "x", partition=0)
    client.consume_partition(topic, 0, "oldest", handle, background=True)
    assert begun.wait(DEADLINE)
    stopping = threading.Thread(target=client.stop_consume)
    stopping.start()
    stopping.join(0.3)
    assert stopping.is_alive()

    go_on.set()
    stopping.join(DEADLINE)

    assert ended.is_set()
    assert not stopping.is_alive()


def test_a_handler_that_raises_ends_reading_with_its_error_as_the_cause(
    client: Kafka, topic: str
) -> None:
    fill(client, topic, 3)
    seen = []

    def handle(message: Message) -> None:
        seen.append(message.offset)
        if message.offset == 1:
            raise ValueError("no")

    with pytest.raises(ConsumeFailed, match=r"raised at Message\(.*@1\): ValueError: no") as caught:
        client.consume_partition(topic, 0, "oldest", handle)

    assert isinstance(caught.value.__cause__, ValueError)
    assert seen == [0, 1]
    assert client.stats().errors == 1


def test_a_handler_that_raises_in_the_background_is_logged_and_told_when_it_is_stopped(
    client: Kafka, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(_message: Message) -> None:
        raise ValueError("no")

    client.send(topic, "x", partition=0)
    with caplog.at_level(logging.ERROR):
        client.consume_partition(topic, 0, "oldest", handle, background=True)
        until(lambda: client.stats().active_consumers == 0)

    assert "reading has stopped: the handler raised" in caplog.text
    with pytest.raises(ConsumeFailed, match="ValueError: no"):
        client.stop_consume()
    with pytest.raises(NotConsuming):
        client.stop_consume()


def test_what_would_end_the_process_ends_reading_in_the_background(
    client: Kafka, topic: str
) -> None:
    def handle(_message: Message) -> None:
        raise SystemExit(3)

    client.send(topic, "x", partition=0)
    client.consume_partition(topic, 0, "oldest", handle, background=True)
    until(lambda: client.stats().errors == 1)

    with pytest.raises(ConsumeFailed, match="SystemExit: 3"):
        client.stop_consume()


def test_a_handler_that_leaves_its_work_to_be_awaited_has_failed(client: Kafka, topic: str) -> None:
    loop = asyncio.new_event_loop()
    client.send(topic, "x", partition=0)

    with pytest.raises(ConsumeFailed, match="it returned an awaitable"):
        client.consume_partition(topic, 0, "oldest", lambda _message: loop.create_future())

    loop.close()


def test_nothing_is_read_after_a_close_that_came_while_reading_began(
    topic: str, kafka_address: str
) -> None:
    for number in range(10):
        other = Kafka(kafka_address)
        other.ping()
        reading = threading.Thread(target=begin, args=(other, topic))
        reading.start()
        reading.join(number * 0.003)

        other.close()
        reading.join(DEADLINE)

        assert not reading.is_alive()
        assert "kafka-reading" not in {thread.name for thread in threading.enumerate()}


def begin(client: Kafka, topic: str) -> None:
    with suppress(ClientClosed):
        client.consume(topic, print, background=True)


def test_a_client_reads_one_thing_at_a_time(client: Kafka, topic: str) -> None:
    client.consume(topic, print, background=True)
    with pytest.raises(AlreadyConsuming, match=r"call stop_consume\(\) first"):
        client.consume(topic, print)
    with pytest.raises(AlreadyConsuming):
        client.consume_partition(topic, 0, 0, print)
    with pytest.raises(AlreadyConsuming):
        client.join_group(unique("group"), topic, print)
    with pytest.raises(NotInConsumerGroup):
        client.leave_group()
    client.stop_consume()

    client.join_group(unique("group"), topic, print, background=True)
    with pytest.raises(InConsumerGroup, match=r"call leave_group\(\) first"):
        client.consume(topic, print)
    with pytest.raises(InConsumerGroup):
        client.join_group(unique("group"), topic, print)
    with pytest.raises(NotConsuming):
        client.stop_consume()
    client.leave_group()

    client.consume(topic, print, background=True)
    client.stop_consume()


def test_what_does_not_go_on_cannot_be_stopped(client: Kafka) -> None:
    with pytest.raises(NotConsuming, match="nothing is being consumed"):
        client.stop_consume()
    with pytest.raises(NotInConsumerGroup, match="the client is in no group"):
        client.leave_group()
    with pytest.raises(NotInConsumerGroup):
        _ = client.group_consumer


def test_a_place_outside_of_the_log_is_refused(client: Kafka, topic: str) -> None:
    fill(client, topic, 5)
    for deleted in client.admin.delete_records([ClientPartition(topic, 0, 3)]).values():
        deleted.result()

    for offset in (1, 6):
        with pytest.raises(ConsumeFailed, match="is not in the log; legal are 3 to 5"):
            client.consume_partition(topic, 0, offset, print)


def test_records_of_an_aborted_transaction_are_read_only_uncommitted(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka_address, "transactional.id": unique("transaction")}
    )
    producer.init_transactions(DEADLINE)
    producer.begin_transaction()
    producer.produce(topic, b"aborted", partition=0)
    producer.flush(DEADLINE)
    producer.abort_transaction(DEADLINE)
    client.send(topic, "committed", partition=0)

    committed, uncommitted = Inbox(), Inbox()
    client.consume_partition(topic, 0, "oldest", committed, background=True)
    with reader(kafka_address, isolation="read_uncommitted") as other:
        other.consume_partition(topic, 0, "oldest", uncommitted, background=True)

        assert values(uncommitted.take(2)) == [b"aborted", b"committed"]
        assert values(committed.take(1)) == [b"committed"]


def test_a_client_that_is_not_to_read_says_so(kafka_address: str) -> None:
    settings = KafkaSettings.model_validate(
        {"brokers": kafka_address, "consumer": {"enabled": False}}
    )
    with Kafka(settings) as client:
        for read in (
            lambda: client.consume("t", print),
            lambda: client.consume_partition("t", 0, 0, print),
            lambda: client.join_group("g", "t", print),
            lambda: client.consumer,
            lambda: client.group_consumer,
        ):
            with pytest.raises(ConsumerNotEnabled, match=r"set consumer\.enabled to true"):
                read()
