"""`worker doctor` on a real Kafka, beside workers that are behind."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._resource import ResourceType  # not re-exported for type checkers
from confluent_kafka.cimpl import NewTopic

from tests.cli.rig import worker
from tests.system.guarded import USE, Guarded
from tests.system.rig import DEADLINE, Kafka, Spec, Worker, free_port, unique

pytestmark = pytest.mark.kafka

Reply = tuple[int, str, str]


class Clinic(Spec):
    """A spec, workers that run it, and the command on it."""

    def __init__(
        self, kafka: Kafka, folder: Path, handler: str = "echo", partitions: int = 4, **how: Any
    ) -> None:
        super().__init__(kafka, folder, handler, how)
        self.port = free_port()
        kafka.create(self.source, self.target, partitions=partitions)
        self.file = self.written(server={"port": self.port})

    def wait_in(self, partition: int, number: int, seconds: float = 0.0) -> None:
        """Write messages without a key that take their handler so long."""
        value = json.dumps({"seconds": seconds}).encode()
        self.kafka.produce(self.source, [(None, value, partition)] * number)

    def doctor(self, *arguments: str) -> Reply:
        return worker("doctor", self.file, "--seconds", "1", *arguments, folder=self.folder)

    def diagnosed(self, *arguments: str) -> dict[str, Any]:
        """What it says in JSON."""
        _, out, err = self.doctor("--output", "json", *arguments)
        assert out, err
        return dict(json.loads(out))

    def codes(self, *arguments: str) -> set[str]:
        return codes(self.diagnosed(*arguments))

    def working(self, *arguments: str) -> Worker:
        return Worker(self.file, self.port, arguments=arguments)


def codes(found: dict[str, Any]) -> set[str]:
    return {one["code"] for one in found["pipelines"]["pipeline"]["findings"]}


def finding(found: dict[str, Any], code: str) -> dict[str, Any]:
    every: Sequence[dict[str, Any]] = found["pipelines"]["pipeline"]["findings"]
    return next(one for one in every if one["code"] == code)


def test_a_key_that_has_much_of_what_waits_is_named(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path)
    hot = [(b"N14228", b"{}", -1)] * 400
    kafka.produce(clinic.source, hot + [(b"%d" % one, b"{}", -1) for one in range(600)])

    found = clinic.diagnosed()

    assert "N14228" in finding(found, "hot_key")["what"]
    assert finding(found, "hot_key")["evidence"].startswith("40% of 1,000 records looked at")
    assert "nobody" in codes(found)
    code, out, err = clinic.doctor()
    assert code == 1
    assert "problem: nobody reads its messages\n" in out
    assert "    advice:   start a worker with this spec: `worker run`\n" in out
    assert "so only the cluster was looked at" in err


def test_keys_that_share_what_waits_are_not(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path)
    kafka.produce(clinic.source, [(b"%d" % (one % 50), b"{}", one % 4) for one in range(1_000)])

    assert clinic.codes() == {"nobody"}


def test_a_partition_that_has_most_of_what_waits_is_named(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path)
    clinic.wait_in(2, 900)
    clinic.wait_in(0, 100)

    found = clinic.diagnosed()

    assert finding(found, "hot_partition")["what"].endswith(f"{clinic.source}[2]")
    assert "90% of 1,000 messages" in finding(found, "hot_partition")["evidence"]
    assert "hot_key" not in codes(found)


def test_a_handler_that_is_too_slow_is_told_with_how_long_messages_take(
    kafka: Kafka, tmp_path: Path
) -> None:
    clinic = Clinic(kafka, tmp_path, "wait", concurrency=2)
    for partition in range(4):
        clinic.wait_in(partition, 500, seconds=0.1)

    with clinic.working() as process:
        process.until(lambda: process.count("handled") >= 2)
        found = clinic.diagnosed()

    assert codes(found) == {"slow_handler"}
    evidence = finding(found, "slow_handler")["evidence"]
    assert re.match(r"a message takes .*s on average, and 99 of 100 at most .*s; ", evidence)
    assert "messages a second are handled, 0.0 come" in evidence
    assert found["pipelines"]["pipeline"]["shares"]["handler"] > 0.5
    advice = finding(found, "slow_handler")["advice"]
    assert advice == "raise `concurrency`, now 2, up to its 4 partitions"
    assert found["worker"] == f"http://127.0.0.1:{clinic.port}"


def test_a_pipeline_that_keeps_up_has_nothing_wrong(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path)
    clinic.wait_in(0, 1_000)

    with clinic.working() as process:
        process.until(lambda: process.count("handled") == 1_000)
        process.until(lambda: kafka.committed(clinic.group, clinic.source)[0] == 1_000)
        code, out, err = clinic.doctor("--url", process.address)

    assert code == 0, out
    assert "pipeline: no lag; 0.0/s come, 0.0/s are finished\n" in out
    assert err == ""


def test_members_without_partitions_are_too_many(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path, partitions=1)

    with clinic.working("--processes", "3") as process:
        process.until(lambda: process.pipeline().get("joined"))
        process.until(
            lambda: len(process.shares()) == 3 and (process.get("/readyz") or {})["status"] == "ok"
        )
        found = clinic.diagnosed()

    assert codes(found) == {"too_few_partitions"}
    evidence = finding(found, "too_few_partitions")["evidence"]
    assert evidence == "3 members share 1 partitions: 2 have nothing to do"


def test_members_are_counted_in_a_group_of_the_new_protocol(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path, "wait")
    spec = yaml.safe_load(clinic.file.read_text())
    settings = {"brokers": kafka.address, "group": {"protocol": "consumer"}}
    clinic.file.write_text(yaml.safe_dump({**spec, "kafka": settings}))
    clinic.wait_in(0, 1, seconds=5)

    with clinic.working() as process:
        process.until(lambda: process.pipeline().get("joined"))
        found = clinic.diagnosed()

    assert found["unread"] == {}
    assert found["pipelines"]["pipeline"]["members"] == 1


def test_a_handler_that_hangs_is_named_with_its_message(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path, "wait", timeout="100ms")
    clinic.wait_in(1, 1, seconds=30)

    with clinic.working() as process:
        process.until(lambda: process.pipeline().get("overrunning"))
        found = clinic.diagnosed()

    assert f"{clinic.source}/1/0 for" in finding(found, "hanging")["evidence"]
    assert [one["code"] for one in found["findings"]] == ["not_ready"]


def test_a_message_that_ends_its_process_is_named(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path, "poisoned", pool="process", concurrency=1, on_error="skip")
    kafka.produce(clinic.source, [(None, b'{"poison": true}', 1)])

    with clinic.working() as process:
        process.until(lambda: process.pipeline().get("failures"))
        found = finding(clinic.diagnosed(), "crashes")

    assert found["severity"] == "warning"
    assert found["evidence"] == (
        "1 message since the worker's start, 0 of them just now; the last: "
        f"{clinic.source}/1/0, the process ended by signal 11 (SIGSEGV)"
    )


def test_topics_that_are_not_there_are_told_where_the_spec_names_them(
    kafka: Kafka, tmp_path: Path
) -> None:
    clinic = Clinic(kafka, tmp_path)
    kafka.delete(clinic.target)

    code, out, _ = clinic.doctor()

    assert code == 1
    assert f"pipelines.pipeline.to: topic '{clinic.target}' does not exist" in out


def test_a_compacted_dead_letter_topic_is_warned_of(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path, dead_letter=unique("dead"))
    dead = clinic.settings["dead_letter"]
    client = AdminClient({"bootstrap.servers": kafka.address})
    new = NewTopic(dead, 1, -1, config={"cleanup.policy": "compact"})
    client.create_topics([new])[dead].result()

    found = clinic.diagnosed()

    assert finding(found, "compacted_dead_letters")["evidence"] == "cleanup.policy=compact"
    assert clinic.doctor()[0] == 0


def test_no_group_is_made_and_nothing_is_committed(kafka: Kafka, tmp_path: Path) -> None:
    clinic = Clinic(kafka, tmp_path)
    clinic.wait_in(0, 10)

    assert clinic.codes() == {"nobody"}

    groups = AdminClient({"bootstrap.servers": kafka.address}).list_consumer_groups().result()
    assert clinic.group not in {one.group_id for one in groups.valid}


def test_rights_that_are_missing_are_told_all_at_once(guarded: Guarded, tmp_path: Path) -> None:
    clinic = Clinic(guarded.kafka, tmp_path)
    spec = yaml.safe_load(clinic.file.read_text())
    clinic.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    describe, read, _ = USE
    guarded.grant(clinic.source, ResourceType.TOPIC, [describe])
    guarded.grant(clinic.target, ResourceType.TOPIC, [describe])
    guarded.grant(clinic.group, ResourceType.GROUP, [describe])

    texts = "\n".join(one["text"] for one in clinic.diagnosed()["problems"])

    assert f"topic '{clinic.source}' may not be read by this user: grant Read on it" in texts
    assert f"topic '{clinic.target}' may not be written by this user: grant Write on it" in texts
    assert f"group '{clinic.group}' may not be joined by this user: grant Read on it" in texts
    guarded.grant(clinic.source, ResourceType.TOPIC, [read])
    guarded.grant(clinic.target, ResourceType.TOPIC, USE)
    guarded.grant(clinic.group, ResourceType.GROUP, [read])
    assert clinic.diagnosed()["problems"] == []


def test_a_right_on_transactions_that_is_missing_is_told_of_pipelines_that_need_it(
    guarded: Guarded, tmp_path: Path
) -> None:
    clinic = Clinic(guarded.kafka, tmp_path, delivery="exactly_once")
    spec = yaml.safe_load(clinic.file.read_text())
    clinic.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    for topic in (clinic.source, clinic.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(clinic.group, ResourceType.GROUP, USE)

    (problem,) = clinic.diagnosed()["problems"]

    assert f"no transactions, whose ids would begin with '{clinic.group}.'" in problem["text"]
    assert "grant this user Write and Describe on the transactional id" in problem["text"]
    guarded.grant(f"{clinic.group}.", ResourceType.TRANSACTIONAL_ID, USE)
    anybody = {"bootstrap.servers": guarded.kafka.address, "transactional.id": unique("first")}
    Producer(anybody).init_transactions(DEADLINE)  # brokers make their log of transactions now
    found = clinic.diagnosed()
    assert (found["problems"], found["unread"]) == ([], {})


def test_of_an_instance_whose_own_id_may_be_granted_nothing_is_said_to_be_wrong(
    guarded: Guarded, tmp_path: Path
) -> None:
    clinic = Clinic(guarded.kafka, tmp_path, delivery="exactly_once", instance="here")
    spec = yaml.safe_load(clinic.file.read_text())
    clinic.file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    for topic in (clinic.source, clinic.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(clinic.group, ResourceType.GROUP, USE)

    found = clinic.diagnosed()

    assert found["problems"] == []
    assert [*found["unread"]] == [f"transactional ids {clinic.group}.*"]


def test_a_worker_of_another_spec_is_not_believed(kafka: Kafka, tmp_path: Path) -> None:
    clinic, other = Clinic(kafka, tmp_path), Clinic(kafka, tmp_path)

    with ExitStack() as stack:
        process = stack.enter_context(other.working())
        process.until(lambda: process.get("/stats"))
        found = clinic.diagnosed("--url", process.address)

    assert found["worker"] is None
    assert f"is of '{other.name}', not of this spec" in found["silent"]
