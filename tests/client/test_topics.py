"""Topics are made, described and deleted as the client is asked to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.client.rig import unique
from worker import Kafka, TopicConfig
from worker.errors import ClientError, InvalidPartition, TopicNotFound
from worker.settings import KafkaSettings

pytestmark = pytest.mark.kafka

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_topic_is_described_as_it_was_made(client: Kafka) -> None:
    name = unique("topic")

    client.create_topic(
        name, TopicConfig(2, 1, {"retention.ms": 86_400_000, "compression.type": "zstd"})
    )
    client.send(name, "x", partition=1)

    topic = client.describe_topic(name)
    assert (topic.name, len(topic.topic_id)) == (name, 22)
    assert [
        (p.id, p.leader, p.replicas, p.isr, p.offline, p.low, p.high) for p in topic.partitions
    ] == [(0, 0, (0,), (0,), (), 0, 0), (1, 0, (0,), (0,), (), 0, 1)]
    assert topic.config["retention.ms"] == "86400000"
    assert topic.config["compression.type"] == "zstd"
    assert topic.config["cleanup.policy"] == "delete"


def test_the_broker_for_tests_keeps_records_of_years_ago_until_a_topic_says_otherwise(
    client: Kafka,
) -> None:
    name = unique("topic")

    client.create_topic(name)

    assert client.describe_topic(name).config["retention.ms"] == "-1"


def test_a_new_topic_can_be_used_at_once(client: Kafka) -> None:
    name = unique("topic")

    client.create_topic(name)

    assert name in client.list_topics()
    assert client.offset(name, 0, "newest") == 0
    assert client.send(name, "x", partition=0).offset == 0


def test_a_topic_of_many_partitions_is_waited_for_as_long_as_brokers_get_on_with_it(
    kafka_address: str,
) -> None:
    name = unique("topic")
    settings = KafkaSettings.model_validate(
        {"brokers": kafka_address, "network": {"request_timeout": 1}}
    )

    with Kafka(settings) as hurried:
        hurried.create_topic(name, TopicConfig(500))

        assert len(hurried.describe_topic(name).partitions) == 500
        hurried.delete_topic(name)


def test_kafkas_own_topics_are_not_listed(client: Kafka, topic: str) -> None:
    client.join_group(unique("group"), topic, print, background=True)
    client.leave_group()

    assert not [name for name in client.list_topics() if name.startswith("__")]


def test_what_is_only_validated_is_not_made(client: Kafka) -> None:
    name = unique("topic")

    client.create_topic(name, TopicConfig(3), validate_only=True)

    assert name not in client.list_topics()
    with pytest.raises(ClientError, match=r"INVALID_REPLICATION_FACTOR.*than there are brokers"):
        client.create_topic(name, TopicConfig(1, 5), validate_only=True)
    with pytest.raises(ClientError, match=r"INVALID_CONFIG.*no\.such\.setting"):
        client.create_topic(name, TopicConfig(config={"no.such.setting": 1}))


def test_a_name_that_is_taken_is_refused(client: Kafka, topic: str) -> None:
    with pytest.raises(ClientError, match="TOPIC_ALREADY_EXISTS") as caught:
        client.create_topic(topic)

    assert (caught.value.code, caught.value.retriable) == (36, False)


def test_a_deleted_topic_is_gone_at_once(client: Kafka, topic: str) -> None:
    client.delete_topic(topic)

    assert topic not in client.list_topics()


def test_what_does_not_exist_is_not_found(client: Kafka) -> None:
    name = unique("missing")

    for ask in (
        lambda: client.describe_topic(name),
        lambda: client.delete_topic(name),
        lambda: client.partitions(name),
        lambda: client.offset(name, 0, "oldest"),
        lambda: client.send(name, "x"),
        lambda: client.consume(name, print),
        lambda: client.consume_partition(name, 0, 0, print),
        lambda: client.join_group("g", name, print),
    ):
        with pytest.raises(TopicNotFound, match=f"topic {name} does not exist") as caught:
            ask()
        assert caught.value.code == 3
    assert name not in client.list_topics()


def test_offsets_are_found_by_their_place_and_their_time(client: Kafka, topic: str) -> None:
    for minute in range(3):
        client.send(topic, "x", partition=0, timestamp=NOON + timedelta(minutes=minute))

    assert client.offset(topic, 0, "oldest") == 0
    assert client.offset(topic, 0, "newest") == 3
    assert client.offset(topic, 0, NOON + timedelta(seconds=1)) == 1
    assert client.offset(topic, 0, NOON - timedelta(days=1)) == 0
    assert client.offset(topic, 0, NOON + timedelta(days=1)) == 3
    assert client.offset(topic, 1, "newest") == 0


def test_a_partition_that_does_not_exist_is_invalid(client: Kafka, topic: str) -> None:
    for ask in (
        lambda: client.offset(topic, 3, "newest"),
        lambda: client.consume_partition(topic, 3, "oldest", print),
        lambda: client.send(topic, "x", partition=3),
    ):
        with pytest.raises(InvalidPartition, match="has no partition 3; legal are 0 to 2"):
            ask()
    with pytest.raises(InvalidPartition, match="partition -1 is not legal"):
        client.offset(topic, -1, "newest")
