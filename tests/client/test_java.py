"""Kafka's own console tools, on Java, read what the client writes and the other way round."""

from __future__ import annotations

import pytest

from tests.client.rig import Inbox, unique, values
from tests.console import CONSUMER, PRODUCER
from worker import Kafka, TopicConfig
from worker.kafka.java import find_kafka

pytestmark = pytest.mark.kafka

KEYS = [f"key-{number}" for number in range(40)]


def run(tool: str, *arguments: str, given: bytes = b"") -> bytes:
    done = find_kafka().tool(tool, arguments, input=given, timeout=90)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_java_reads_values_keys_and_headers_of_the_client(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    client.send(topic, "grüß", key="ключ", headers={"trace": "abc"})

    read = run(
        CONSUMER,
        *("--bootstrap-server", kafka_address, "--topic", topic),
        *("--from-beginning", "--max-messages", "1", "--timeout-ms", "60000"),
        *("--property", "print.key=true", "--property", "print.headers=true"),
    )

    assert read.decode().strip() == "trace:abc\tключ\tgrüß"


def test_keys_land_where_javas_do(client: Kafka, kafka_address: str) -> None:
    topic, inbox = unique("topic"), Inbox()
    client.create_topic(topic, TopicConfig(7))
    run(
        PRODUCER,
        *("--bootstrap-server", kafka_address, "--topic", topic),
        *("--property", "parse.key=true", "--property", "key.separator=:"),
        given="".join(f"{key}:java\n" for key in KEYS).encode(),
    )
    ours = {key: client.send(topic, "ours", key=key).partition for key in KEYS}

    for partition in range(7):
        number = client.offset(topic, partition, "newest")
        if number:
            client.consume_partition(topic, partition, "oldest", inbox, background=True)
            read = inbox.take(number)
            client.stop_consume()
            theirs = {message.key for message in read if message.value == b"java"}
            assert theirs == {key.encode() for key in KEYS if ours[key] == partition}
    assert len(set(ours.values())) == 7


def test_the_client_reads_what_java_writes(client: Kafka, topic: str, kafka_address: str) -> None:
    inbox = Inbox()
    client.consume(topic, inbox, background=True)

    run(
        PRODUCER,
        *("--bootstrap-server", kafka_address, "--topic", topic),
        *("--property", "parse.key=true", "--property", "key.separator=:"),
        *("--property", "parse.headers=true", "--property", "headers.delimiter=|"),
        *("--compression-codec", "zstd"),
        given="trace:abc|ключ:grüß\n".encode(),
    )

    (message,) = inbox.take(1)
    assert values([message]) == ["grüß".encode()]
    assert (message.key, message.headers) == ("ключ".encode(), [("trace", b"abc")])
