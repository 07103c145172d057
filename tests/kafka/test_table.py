"""What becomes of the logs of a real Kafka while a table is read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from tests.contract.rig import KafkaRig, Layout, unique
from worker import Kafka
from worker.errors import ClientError
from worker.kafka.broker import KafkaCluster
from worker.kafka.reader import outsider, records
from worker.ports import Table
from worker.settings import GroupSettings, KafkaSettings
from worker.testing.sharing import real
from worker.types import TopicPartition

pytestmark = pytest.mark.kafka

DEADLINE = 60.0
COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "100",
}


@contextmanager
def started(cluster: KafkaCluster) -> Iterator[str]:
    with cluster:
        yield cluster.address


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """A node of our own, to be frozen, that compacts at once."""
    cluster = KafkaCluster(properties={"log.cleaner.backoff.ms": "100"})
    with real(lambda: started(cluster)):
        yield cluster


@pytest.fixture
def rig(cluster: KafkaCluster) -> KafkaRig:
    return KafkaRig(cluster.address, GroupSettings())


@pytest.fixture
def table(rig: KafkaRig) -> Iterator[Table]:
    table = rig.table()
    yield table
    table.close()


def values(table: Table, source: TopicPartition) -> list[bytes | None]:
    return [raw.value() for raw in table.read([source])]


def made(rig: KafkaRig, settings: Mapping[str, str] | None = None) -> TopicPartition:
    topic = unique("topic")
    rig.admin().create({topic: Layout(config=settings or {})})
    return TopicPartition(topic, 0)


def test_what_is_read_on_from_may_have_been_compacted_away(rig: KafkaRig, table: Table) -> None:
    source, whole = made(rig, COMPACTED), rig.table()
    for number in range(20):
        rig.append(source, b"%d" % number, key=b"key")
    table.read([source])

    number, left, deadline = 20, [0], time.monotonic() + DEADLINE
    while left[0] <= 20:
        assert time.monotonic() < deadline, f"not compacted: {left}"
        rig.append(source, b"%d" % number, key=b"key")
        number += 1
        whole.forget([source])
        left = [raw.offset() for raw in whole.read([source])]
    whole.close()
    later = table.read([source])

    assert later[0].offset() > 20
    assert later[-1].value() == b"%d" % (number - 1)
    assert list(table.read([source])) == []


def test_what_comes_after_an_open_transaction_is_read_when_that_has_ended(
    rig: KafkaRig, table: Table, cluster: KafkaCluster
) -> None:
    source = made(rig)
    rig.append(source, b"before")
    client = Producer(
        {"bootstrap.servers": cluster.address, "transactional.id": unique("transaction")}
    )
    client.init_transactions(DEADLINE)
    client.begin_transaction()
    client.produce(source.topic, b"inside", partition=0)
    client.flush(DEADLINE)
    rig.append(source, b"after")

    while_open = values(table, source)
    client.commit_transaction(DEADLINE)
    found, deadline = list[bytes | None](), time.monotonic() + DEADLINE
    while not found:
        assert time.monotonic() < deadline, "the transaction does not end"
        found = values(table, source)

    assert while_open == [b"before"]
    assert found == [b"inside", b"after"]


def test_what_lies_beyond_the_ends_is_left_to_the_next_who_reads(
    rig: KafkaRig, cluster: KafkaCluster
) -> None:
    one, other = made(rig), made(rig)
    for number in range(9):
        rig.append(one, b"one %d" % number)
        rig.append(other, b"other %d" % number)
    client = outsider(KafkaSettings(brokers=[cluster.address]))

    found = list(records(client, {one: 0, other: 4}, {one: 1, other: 6}))
    client.close()

    assert sorted(raw.value() or b"" for raw in found) == [b"one 0", b"other 4", b"other 5"]


def test_a_topic_that_was_made_anew_with_less_in_it_is_read_from_its_beginning(
    rig: KafkaRig, table: Table, cluster: KafkaCluster
) -> None:
    source = made(rig)
    for value in (b"0", b"1", b"2"):
        rig.append(source, value)
    table.read([source])

    with Kafka(cluster.address) as client:
        client.delete_topic(source.topic)
        client.create_topic(source.topic)
    rig.append(source, b"anew")

    assert values(table, source) == [b"anew"]
    assert values(table, source) == []


def test_a_topic_that_was_looked_for_while_it_was_gone_is_read_when_it_is_there_again(
    rig: KafkaRig, table: Table, cluster: KafkaCluster
) -> None:
    source = made(rig)
    for value in (b"0", b"1"):
        rig.append(source, value)
    table.read([source])

    with Kafka(cluster.address) as client:
        client.delete_topic(source.topic)
        for _ in range(2):
            with pytest.raises(ClientError):
                table.read([source])
        client.create_topic(source.topic)
    rig.append(source, b"anew")

    assert values(table, source) == [b"anew"]


def test_while_no_broker_answers_nothing_is_lost(
    rig: KafkaRig, table: Table, cluster: KafkaCluster
) -> None:
    source = made(rig)
    rig.append(source, b"0")
    table.read([source])
    rig.append(source, b"1")

    cluster.pause_node(0)
    try:
        with pytest.raises(ClientError):
            table.read([source])
    finally:
        cluster.resume_node(0)

    assert values(table, source) == [b"1"]
