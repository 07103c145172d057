"""What the start finds that is in the way of transactions, on a real Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.old import relayed
from tests.system.guarded import LONGEST_TRANSACTION, USE, Guarded
from tests.system.rig import Kafka, Spec
from worker.kafka.broker import KafkaCluster

pytestmark = pytest.mark.kafka

EXACTLY = {"delivery": "exactly_once"}
HERE = "pipelines.pipeline.delivery: no transactions"


def test_a_user_who_may_not_write_transactions_is_told_of_which_ids(
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    spec = Spec(guarded.kafka, tmp_path, "echo", EXACTLY, top={"kafka": guarded.settings})
    spec.create_topics()
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])

    with spec.worker() as worker:
        assert worker.ended() == 78
        assert f"{HERE}, whose ids would begin with '{spec.group}.'" in worker.log
        assert "grant this user Write and Describe on the transactional id" in worker.log
    rights = [AclOperation.WRITE, AclOperation.DESCRIBE]
    guarded.grant(f"{spec.group}.", ResourceType.TRANSACTIONAL_ID, rights)
    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


def test_transactions_that_may_last_longer_than_brokers_let_them_stop_the_start(
    guarded: Guarded,
    tmp_path: Path,
) -> None:
    longer = {**EXACTLY, "transaction": {"timeout": f"{LONGEST_TRANSACTION + 1}s"}}
    spec = Spec(guarded.kafka, tmp_path, "echo", longer)
    spec.create_topics()

    with spec.worker() as worker:
        assert worker.ended() == 78
        assert f"{HERE}, whose ids would begin with '{spec.group}.'" in worker.log
        assert "lower transaction.timeout, or raise transaction.max.timeout.ms" in worker.log


def test_brokers_that_cannot_make_the_log_of_transactions_are_named_as_the_reason_to_wait(
    tmp_path: Path,
) -> None:
    missing = {"transaction.state.log.replication.factor": "3"}
    with KafkaCluster(heap="192m", properties=missing) as cluster:
        spec = Spec(Kafka(cluster.address), tmp_path, "echo", EXACTLY)
        spec.create_topics()
        with spec.worker() as worker:
            worker.until(lambda: "no transaction yet" in worker.log)
            (reason,) = worker.get("/readyz")["reasons"]
            assert "transaction.state.log.replication.factor" in reason["text"]


def test_brokers_that_would_let_the_dead_commit_stop_the_start(
    kafka: Kafka,
    tmp_path: Path,
) -> None:
    with relayed(kafka.address, 2) as old:
        spec = Spec(kafka, tmp_path, "echo", EXACTLY, client={"brokers": old})
        spec.create_topics()

        with spec.worker() as worker:
            assert worker.ended() == 78
            words = "exactly_once; these brokers are older than Kafka 2.5, and would take offsets"
            assert f"pipelines.pipeline.delivery: {words}" in worker.log
