"""What a client says of itself, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.client.rig import DEADLINE, Inbox, until
from worker import Kafka, KafkaSettings, Message
from worker.errors import BadConfiguration, ClientClosed, ConnectionFailed

pytestmark = pytest.mark.kafka

NOWHERE = "127.0.0.1:1"


def nowhere(**keys: object) -> Kafka:
    """A client of brokers that are not there, which gives up soon."""
    return Kafka(
        KafkaSettings.model_validate(
            {
                "brokers": NOWHERE,
                "network": {"request_timeout": "1s"},
                "metadata": {"retry_backoff": "50ms"},
                **keys,
            }
        )
    )


def test_a_new_client_has_done_nothing(kafka_address: str) -> None:
    with Kafka(kafka_address) as client:
        stats = client.stats()

        assert (stats.connected, stats.connect_time, stats.errors) == (False, None, 0)
        assert (stats.active_consumers, stats.active_producers) == (0, 0)
        assert client.ping() < DEADLINE
        assert client.stats().connected
        assert client.stats().connect_time is not None


def test_what_was_sent_and_handled_is_counted(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    inbox = Inbox()
    client.consume(topic, inbox, background=True)
    for _ in range(3):
        client.send(topic, b"12345")
    inbox.take(3)
    until(lambda: client.stats().messages_received == 3)

    stats = client.stats()

    assert (stats.messages_sent, stats.bytes_sent) == (3, 15)
    assert (stats.messages_received, stats.bytes_received) == (3, 15)
    assert (stats.active_consumers, stats.active_producers) == (1, 1)
    until(lambda: [one.state for one in client.stats().brokers.values()] == ["UP"])
    until(lambda: all(one.round_trip for one in client.stats().brokers.values()))
    assert list(client.stats().brokers) == [kafka_address]
    client.stop_consume()
    assert (client.stats().messages_received, client.stats().active_consumers) == (3, 0)


def test_the_clients_below_are_made_when_they_are_asked_for(client: Kafka, topic: str) -> None:
    assert client.stats().active_producers == 0

    assert client.producer is client.async_producer
    assert client.consumer is client.consumer
    assert topic in client.admin.list_topics(timeout=10).topics
    assert topic in client.consumer.list_topics(timeout=10).topics
    assert topic in client.producer.list_topics(timeout=10).topics

    assert (client.stats().active_producers, client.stats().active_consumers) == (1, 1)


def test_a_closed_client_has_delivered_and_does_nothing_more(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    with Kafka(kafka_address) as other:
        deliveries = [other.send_async(topic, f"{number}") for number in range(1000)]

    other.close()

    assert all(delivery.done() for delivery in deliveries)
    assert sum(client.offset(topic, number, "newest") for number in range(3)) == 1000
    for use in (
        lambda: other.send(topic, "x"),
        lambda: other.send_async(topic, "x"),
        lambda: other.send_many([]),
        lambda: other.consume(topic, print),
        lambda: other.join_group("g", topic, print),
        other.stop_consume,
        other.leave_group,
        other.list_topics,
        other.ping,
        other.stats,
        other.__enter__,
        lambda: other.producer,
        lambda: other.consumer,
        lambda: other.group_consumer,
        lambda: other.admin,
    ):
        with pytest.raises(ClientClosed, match="the client is closed; make a new one"):
            use()


def test_closing_stops_what_is_read(client: Kafka, topic: str, kafka_address: str) -> None:
    inbox = Inbox()
    with Kafka(kafka_address) as other:
        other.consume(topic, inbox, background=True)
        client.send(topic, "x")
        inbox.take(1)

    client.send(topic, "y")

    assert inbox.is_empty
    assert "kafka-reading" not in {thread.name for thread in threading.enumerate()}


def test_a_handler_may_close_its_client(client: Kafka, topic: str, kafka_address: str) -> None:
    other = Kafka(kafka_address)

    def handle(_message: Message) -> None:
        other.close()

    client.send(topic, "x", partition=0)
    other.consume_partition(topic, 0, "oldest", handle)

    with pytest.raises(ClientClosed):
        other.ping()


def test_without_brokers_every_question_ends_in_time_and_says_why() -> None:
    with nowhere() as client:
        for ask in (
            client.ping,
            client.list_topics,
            lambda: client.create_topic("t"),
            lambda: client.describe_topic("t"),
            lambda: client.send("t", "x"),
            lambda: client.consume("t", print),
            lambda: client.join_group("g", "t", print),
        ):
            with pytest.raises(
                ConnectionFailed, match=f"no broker of {NOWHERE} answered"
            ) as caught:
                ask()
            assert "Connection refused" in str(caught.value)
            assert "see whether the brokers run" in caught.value.advice
            assert caught.value.retriable
            assert caught.value.code is not None
        assert not client.stats().connected
        assert client.stats().errors > 0


def test_a_client_can_be_made_from_a_spec(client: Kafka, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    brokers = client.settings.brokers[0]
    spec.write_text(
        f"version: 1\nname: s\nkafka: {{brokers: '{brokers}', client_id: me}}\n"
        "handlers: [none]\npipelines: {p: {from: a, handler: h}}\n"
    )

    with Kafka.from_spec(spec) as other:
        assert other.settings.client_id == "me"
        assert other.ping() < DEADLINE

    spec.write_text("version: 1\n")
    with pytest.raises(BadConfiguration, match="kafka"):
        Kafka.from_spec(spec)


FORKED = """
import os, sys
from worker import Kafka
from worker.errors import ClientNotInitialized

client = Kafka(sys.argv[1])
client.ping()
client.producer
child = os.fork()
if child == 0:
    for use in (client.ping, lambda: client.send("t", "x"), client.stats, lambda: client.producer):
        try:
            use()
        except ClientNotInitialized as error:
            print(error, flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), client.ping() < 60)
client.close()
"""


def test_a_forked_child_is_told_to_make_a_client_of_its_own(kafka_address: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, kafka_address],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )

    *refusals, last = done.stdout.splitlines()
    assert len(refusals) == 4
    assert all("belongs to the process that this one was forked from" in one for one in refusals)
    assert all(one.endswith("in the process that uses it") for one in refusals)
    assert last == "7 True"
