"""The client while brokers are frozen, killed, or not there yet: three, of which two must write."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.client.rig import DEADLINE, Inbox, unique, until, values
from tests.system.rig import Kafka as Cluster
from tests.system.rig import free_port
from worker import Kafka, KafkaSettings, TopicConfig
from worker.errors import SendFailed, TopicNotFound
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def brokers() -> Iterator[KafkaCluster]:
    """Three brokers that make unknown topics of whoever asks for them."""
    cluster = KafkaCluster(3, properties={"auto.create.topics.enable": "true"})
    with real(lambda: cluster_address(cluster)):
        yield cluster


class cluster_address:  # noqa: N801 - a context manager
    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster

    def __enter__(self) -> str:
        self._cluster.start()
        return self._cluster.address

    def __exit__(self, *_: object) -> None:
        self._cluster.stop()


@pytest.fixture
def client(brokers: KafkaCluster) -> Iterator[Kafka]:
    brokers.start()
    with made(brokers.address, network={"request_timeout": "30s"}) as client:
        yield client


@pytest.fixture
def topic(client: Kafka) -> str:
    name = unique("topic")
    client.create_topic(name, TopicConfig(1))
    return name


def made(address: str, **keys: Any) -> Kafka:
    return Kafka(KafkaSettings.model_validate({"brokers": address, **keys}))


def freeze(brokers: KafkaCluster) -> None:
    for node in range(brokers.nodes):
        brokers.pause_node(node)


def thaw(brokers: KafkaCluster) -> None:
    for node in range(brokers.nodes):
        brokers.resume_node(node)


def leader_of(client: Kafka, topic: str) -> int:
    leader = client.describe_topic(topic).partitions[0].leader
    assert leader is not None
    return leader


def test_what_is_sent_while_its_leader_is_killed_arrives_once_and_in_order(
    client: Kafka, topic: str, brokers: KafkaCluster
) -> None:
    deliveries = [client.send_async(topic, f"{number}") for number in range(5_000)]
    deliveries[0].result(DEADLINE)
    leader = leader_of(client, topic)

    brokers.kill_node(leader)
    deliveries += [client.send_async(topic, f"{number}") for number in range(5_000, 10_000)]

    offsets = [delivery.result(DEADLINE).offset for delivery in deliveries]
    assert offsets == list(range(10_000))
    assert [message.value() for message in Cluster(brokers.address).read(topic)] == [
        b"%d" % number for number in range(10_000)
    ]
    assert leader_of(client, topic) != leader


def test_a_killed_broker_is_named_as_offline(
    client: Kafka, topic: str, brokers: KafkaCluster
) -> None:
    brokers.kill_node(2)

    until(lambda: client.describe_topic(topic).partitions[0].offline == (2,))

    partition = client.describe_topic(topic).partitions[0]
    assert (sorted(partition.replicas), sorted(partition.isr)) == ([0, 1, 2], [0, 1])


@pytest.mark.parametrize(("acks", "offsets"), [("none", {-1}), ("local", {0}), ("all", {0})])
def test_a_record_counts_as_sent_when_as_many_have_it_as_was_asked_for(
    topic: str, brokers: KafkaCluster, acks: str, offsets: set[int]
) -> None:
    with made(brokers.address, producer={"acks": acks, "idempotent": acks == "all"}) as client:
        assert {client.send(topic, "x").offset} == offsets

        until(lambda: client.describe_topic(topic).partitions[0].high == 1)


def test_without_enough_replicas_only_the_leaders_word_can_be_had(
    client: Kafka, topic: str, brokers: KafkaCluster
) -> None:
    """Two of three brokers frozen: the third leads, and its copy alone does not do for `all`."""
    leader = leader_of(client, topic)
    sending = {"acks": "local", "idempotent": False}
    with made(brokers.address, producer=sending) as local, made(brokers.address) as careful:
        local.send(topic, "x")
        careful.send(topic, "x")
        others = [node for node in range(3) if node != leader]
        for node in others:
            brokers.pause_node(node)
        try:
            assert local.send(topic, "x").offset == 2
            with pytest.raises(SendFailed, match="was not acknowledged in time") as caught:
                careful.send(topic, "x", timeout=2)
        finally:
            for node in others:
                brokers.resume_node(node)

        assert caught.value.retriable
        assert "may still arrive" in caught.value.advice


def test_while_no_broker_answers_the_queue_is_bounded_and_waits_as_long_as_it_is_told(
    client: Kafka, topic: str, brokers: KafkaCluster
) -> None:
    with made(brokers.address, librdkafka={"queue.buffering.max.messages": 100}) as small:
        small.send(topic, "first")
        freeze(brokers)
        try:
            deliveries = [small.send_async(topic, b"x") for _ in range(100)]
            begun = time.monotonic()
            with pytest.raises(SendFailed, match="send less at a time, or wait") as caught:
                small.send_async(topic, b"x", timeout=0.5)
            waited = time.monotonic() - begun
        finally:
            thaw(brokers)

        assert caught.value.retriable
        assert waited >= 0.5
        assert [one.result(DEADLINE).offset for one in deliveries] == list(range(1, 101))


def test_closing_while_no_broker_answers_is_bounded_and_fails_what_is_not_delivered(
    client: Kafka, topic: str, brokers: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    other = made(brokers.address)
    other.send(topic, "first")
    freeze(brokers)
    try:
        delivery = other.send_async(topic, "x")
        begun = time.monotonic()
        other.close(timeout=1.0)
        took = time.monotonic() - begun
    finally:
        thaw(brokers)

    assert took < DEADLINE / 2
    assert "1 record was not delivered in 1.0 s, and given up" in caplog.text
    failed = delivery.exception(0)
    assert failed is not None
    assert "_PURGE" in str(failed)


def test_reading_goes_on_when_the_brokers_are_back(
    client: Kafka, topic: str, brokers: KafkaCluster
) -> None:
    inbox = Inbox()
    with made(brokers.address) as reader:
        reader.consume(topic, inbox, background=True)
        client.send(topic, "before")
        assert values(inbox.take(1)) == [b"before"]
        freeze(brokers)
        pending = client.send_async(topic, "after")
        thaw(brokers)

        assert pending.result(DEADLINE).offset == 1
        assert values(inbox.take(1)) == [b"after"]


def test_nothing_is_made_by_sending_to_it_even_where_brokers_would(client: Kafka) -> None:
    name = unique("missing")

    with pytest.raises(TopicNotFound, match="nothing is ever made by sending to it"):
        client.send(name, "x")

    assert name not in client.list_topics()


def test_a_client_that_was_made_before_its_broker_waits_for_it() -> None:
    cluster = KafkaCluster(ports=[free_port()])
    with (
        made(cluster.address) as early,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(early.ping, DEADLINE)
        with real(lambda: cluster_address(cluster)):
            assert answer.result(DEADLINE) > 0


def test_a_frozen_coordinator_does_not_lose_what_members_have_handled(
    client: Kafka, brokers: KafkaCluster
) -> None:
    name, inbox = unique("topic"), Inbox()
    client.create_topic(name, TopicConfig(3))
    with made(brokers.address, consumer={"offsets": "oldest"}) as one:
        one.join_group(unique("group"), name, inbox, background=True)
        client.send(name, "0")
        inbox.take(1)
        freeze(brokers)
        thaw(brokers)
        for number in range(1, 50):
            client.send_async(name, f"{number}")

        seen: Counter[bytes | None] = Counter()
        while len(seen) < 49:
            seen.update(values(inbox.take(1)))

    assert set(seen) == {b"%d" % number for number in range(1, 50)}
