"""What /livez and /readyz say on a real Kafka when it goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.conftest import real
from tests.system.guarded import USE, Guarded
from tests.system.rig import Kafka, Spec, Worker, is_through, numbered
from worker.kafka.broker import KafkaCluster

pytestmark = pytest.mark.kafka

RECORDS = 40


@contextmanager
def running(cluster: KafkaCluster) -> Iterator[str]:
    with cluster:
        yield cluster.address


@pytest.fixture
def three() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(3, heap="192m")
    with real(lambda: running(cluster)):
        yield cluster


def codes(worker: Worker, path: str = "/readyz") -> list[str]:
    answer = worker.get(path)
    return [] if answer is None else [reason["code"] for reason in answer["reasons"]]


def test_a_coordinator_that_dies_is_told_though_a_member_of_kip_848_hears_nothing(
    three: KafkaCluster, tmp_path: Path
) -> None:
    kafka = Kafka(three.address)
    spec = Spec(kafka, tmp_path, "echo", client={"group": {"protocol": "consumer"}})
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        admin = AdminClient({"bootstrap.servers": three.address})
        group = admin.describe_consumer_groups([spec.group])[spec.group].result()
        three.kill_node(group.coordinator.id)
        worker.until(lambda: "no_coordinator" in codes(worker))
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert worker.stop() == 0, worker.log


def test_joining_that_never_ends_is_told_and_at_last_a_restart_would_help(
    kafka: Kafka, tmp_path: Path
) -> None:
    """A member that polls no more, and may be silent for hours, keeps the group from forming."""
    client = {
        "group": {"rebalance": "range", "session_timeout": "6s", "heartbeat": "1s"},
        "librdkafka": {"max.poll.interval.ms": 6_000},
    }
    spec = Spec(kafka, tmp_path, "echo", client=client)
    spec.create_topics()
    other = Consumer(
        {
            "bootstrap.servers": kafka.address,
            "group.id": spec.group,
            "partition.assignment.strategy": "range",
            "max.poll.interval.ms": 7_200_000,
        }
    )
    owned: list[TopicPartition] = []
    other.subscribe([spec.source], on_assign=lambda _client, places: owned.extend(places))
    while not owned:
        other.poll(0.1)

    with spec.worker() as worker:
        worker.until(lambda: codes(worker) == ["not_joined"])
        worker.until(lambda: (worker.pipeline()["joining_for"] or 0.0) > 2.0)
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(lambda: codes(worker, "/livez") == ["join_stands"])
        other.close()
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        worker.until(worker.is_ready)
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        assert worker.stop() == 0, worker.log


def test_a_right_that_is_lost_is_told_until_the_topic_may_be_read_again(
    guarded: Guarded, tmp_path: Path
) -> None:
    kafka = guarded.kafka
    spec = Spec(kafka, tmp_path, "echo", top={"kafka": guarded.settings})
    spec.create_topics()
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        guarded.revoke(spec.source, ResourceType.TOPIC)
        worker.until(lambda: codes(worker) == ["denied"])
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        guarded.grant(spec.source, ResourceType.TOPIC, USE)
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert worker.stop() == 0, worker.log


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_may_not_be_joined_is_told_until_it_may(
    guarded: Guarded, tmp_path: Path, protocol: str
) -> None:
    settings = {**guarded.settings, "group": {"protocol": protocol}}
    spec = Spec(guarded.kafka, tmp_path, "echo", top={"kafka": settings})
    spec.create_topics()
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)

    with spec.worker() as worker:
        worker.until(lambda: codes(worker) == ["denied"])
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
        worker.until(worker.is_ready)
        if protocol == "consumer":  # the classic one has no such right to lose once it has joined
            guarded.revoke(spec.group, ResourceType.GROUP)
            worker.until(lambda: codes(worker) == ["denied"])
            assert worker.get("/livez") == {"status": "ok", "reasons": []}
            guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
            worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log
