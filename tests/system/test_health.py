"""What /livez and /readyz say on a real Kafka when it goes wrong, and what is repaired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.coordinators import GROUPS, coordinator
from tests.system.guarded import USE, Guarded
from tests.system.rig import Kafka, Spec, Worker, ids, is_through, numbered
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

RECORDS = 40


@contextmanager
def running(cluster: KafkaCluster) -> Iterator[str]:
    with cluster:
        yield cluster.address


@pytest.fixture
def alone() -> Iterator[KafkaCluster]:
    """A broker of our own, to be frozen."""
    cluster = KafkaCluster()
    with real(lambda: running(cluster)):
        yield cluster


@pytest.fixture
def three() -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(3, heap="192m")
    with real(lambda: running(cluster)):
        yield cluster


def repairs(worker: Worker) -> dict[str, int]:
    found: dict[str, int] = worker.pipeline()["counts"]["repairs"]
    return found


def silent(kafka: Kafka, folder: Path, how: str) -> tuple[Spec, Path]:
    """A worker that falls silent as soon as a file is there."""
    file = folder / "silent"
    program = ("tests.system.silent", how, str(file))
    spec = Spec(kafka, folder, "echo", program=program)
    spec.create_topics()
    kafka.produce(spec.source, numbered(RECORDS))
    return spec, file


def fall_silent(worker: Worker, kafka: Kafka, spec: Spec, file: Path) -> None:
    """Let the client stop fetching a partition, and write messages for all."""
    worker.until(lambda: is_through(kafka, spec, RECORDS))
    worker.silenced = True
    file.touch()
    worker.until(file.with_suffix(".silenced").exists)
    kafka.produce(spec.source, numbered(RECORDS))


@pytest.mark.parametrize(
    ("how", "tried"),
    [
        ("paused", ["seek", "pause"]),
        ("lost", ["seek", "pause", "assign"]),
        ("paused_in_client", ["seek", "pause", "assign", "renew"]),
    ],
)
def test_a_partition_that_the_client_silently_stops_to_fetch_is_repaired(
    kafka: Kafka, tmp_path: Path, how: str, tried: list[str]
) -> None:
    spec, file = silent(kafka, tmp_path, how)

    with spec.worker() as worker:
        fall_silent(worker, kafka, spec, file)
        worker.until(lambda: is_through(kafka, spec, 2 * RECORDS))
        worker.until(lambda: worker.pipeline()["partitions"][1]["progress"] == "moves")
        assert repairs(worker) == dict.fromkeys(tried, 1), worker.log
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    assert sorted(ids(kafka.read(spec.target))) == sorted([*range(RECORDS)] * 2)


def test_a_partition_that_nothing_helps_is_told_and_at_last_a_restart_would_help(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec, file = silent(kafka, tmp_path, "paused_again")

    with spec.worker() as worker:
        fall_silent(worker, kafka, spec, file)
        worker.until(lambda: worker.codes() == ["partition_stuck"])
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(lambda: worker.codes("/livez") == ["partition_hopeless"])
        assert repairs(worker) == {"seek": 1, "pause": 1, "assign": 1, "renew": 1}
        assert f"{spec.source}[1] stands at 10, and nothing has helped" in worker.log
        assert worker.stop() == 0, worker.log
    file.unlink()
    with spec.worker() as restarted:
        restarted.until(lambda: is_through(kafka, spec, 2 * RECORDS))
        assert restarted.stop() == 0, restarted.log


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_brokers_that_fall_silent_are_told_and_all_is_well_when_they_are_back(
    alone: KafkaCluster, tmp_path: Path, protocol: str
) -> None:
    kafka = Kafka(alone.address)
    spec = Spec(kafka, tmp_path, "echo")
    spec.client = {"group": {"protocol": protocol}}
    spec.create_topics()
    kafka.produce(spec.source, numbered(RECORDS))

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        alone.pause_node(0)
        worker.until(worker.codes)
        assert worker.codes()[0] in {"no_answer", "no_broker", "no_coordinator", "not_joined"}
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        alone.resume_node(0)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, 2 * RECORDS))
        worker.until(worker.is_ready)
        assert repairs(worker) == {}
        assert worker.stop() == 0, worker.log


def test_brokers_that_fall_silent_in_a_transaction_are_told_as_soon(
    alone: KafkaCluster, tmp_path: Path
) -> None:
    kafka = Kafka(alone.address)
    settings = {"delivery": "exactly_once", "rate_limit": "100/s"}
    spec = Spec(kafka, tmp_path, "echo", settings)
    spec.create_topics()
    kafka.produce(spec.source, numbered(50 * RECORDS))

    with spec.worker() as worker:
        worker.until(lambda: worker.is_ready() and worker.count("produced"))
        alone.pause_node(0)
        worker.until(worker.codes)
        assert worker.codes() == ["held_up"]
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        alone.resume_node(0)
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


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
        worker.until(lambda: "no_coordinator" in worker.codes())
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert worker.stop() == 0, worker.log


def test_a_client_whose_coordinator_stays_away_while_others_answer_is_given_up(
    tmp_path: Path,
) -> None:
    cluster = KafkaCluster(3, heap="192m", properties={"offsets.topic.replication.factor": "1"})
    with real(lambda: running(cluster)) as address:
        kafka = Kafka(address)
        quick = ("tests.system.silent", "never", str(tmp_path / "never"))
        spec = Spec(kafka, tmp_path, "echo", program=quick)
        kafka.create(unused := f"{spec.name}.unused")
        kafka.committed(spec.group, unused)
        node = coordinator(address, GROUPS, spec.group)
        for topic in (spec.source, spec.target):
            kafka.create_on(topic, (node + 1) % 3)

        with spec.worker() as worker:
            worker.until(worker.is_ready)
            cluster.kill_node(node)
            worker.until(lambda: worker.codes() == ["no_coordinator"])
            worker.until(lambda: worker.codes() == ["renewed"])
            assert worker.get("/livez") == {"status": "ok", "reasons": []}
            assert "the coordinator of its group was not connected for 4 s" in worker.log
            cluster.start()
            kafka.produce(spec.source, numbered(RECORDS, 1))
            worker.until(lambda: is_through(kafka, spec, RECORDS))
            worker.until(worker.is_ready)
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
        worker.until(lambda: worker.codes() == ["not_joined"])
        worker.until(lambda: (worker.pipeline()["joining_for"] or 0.0) > 2.0)
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(lambda: worker.codes("/livez") == ["join_stands"])
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
        worker.until(lambda: worker.codes() == ["denied"])
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        guarded.grant(spec.source, ResourceType.TOPIC, USE)
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert worker.stop() == 0, worker.log


@pytest.mark.parametrize(
    ("protocol", "says"),
    [("classic", "Subscribed topic not available"), ("consumer", "no longer available")],
)
def test_a_topic_that_is_hidden_is_told_until_it_is_there_again(
    guarded: Guarded, tmp_path: Path, protocol: str, says: str
) -> None:
    kafka = guarded.kafka
    settings = {"group": {"protocol": protocol}, "metadata": {"refresh": "1s"}}
    spec = Spec(kafka, tmp_path, "echo", top={"kafka": guarded.settings | settings})
    spec.create_topics()
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        guarded.revoke(spec.source, ResourceType.TOPIC)
        worker.until(lambda: says in worker.log)
        worker.until(lambda: worker.codes() == ["denied"])
        guarded.grant(spec.source, ResourceType.TOPIC, USE)
        worker.until(worker.is_ready)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert worker.stop() == 0, worker.log


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_that_may_not_be_joined_stops_the_start(
    guarded: Guarded, tmp_path: Path, protocol: str
) -> None:
    settings = {**guarded.settings, "group": {"protocol": protocol}}
    spec = Spec(guarded.kafka, tmp_path, "echo", top={"kafka": settings})
    spec.create_topics()
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    says = f"group: group '{spec.group}' may not be joined by this user: grant Read on it"

    with spec.worker() as worker:
        assert (worker.ended(), says in worker.log) == (78, True), worker.log
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.DESCRIBE])
    with spec.worker() as worker:
        assert (worker.ended(), says in worker.log) == (78, True), worker.log
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


def test_a_group_that_a_member_may_not_be_in_any_more_is_told_until_it_may(
    guarded: Guarded, tmp_path: Path
) -> None:
    """The classic protocol has no such right to lose once a member has joined."""
    settings = {**guarded.settings, "group": {"protocol": "consumer"}}
    spec = Spec(guarded.kafka, tmp_path, "echo", top={"kafka": settings})
    spec.create_topics()
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
    says = f"group '{spec.group}' may not be joined by this user: grant Read on it"

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        guarded.revoke(spec.group, ResourceType.GROUP)
        worker.until(lambda: worker.codes() == ["denied"])
        assert says in worker.get("/readyz")["reasons"][0]["text"]
        assert says in worker.log
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log
