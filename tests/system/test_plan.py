"""`worker plan` and `worker apply` on a real Kafka."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.cli.rig import answering, worker
from tests.system.guarded import Guarded
from tests.system.rig import Kafka, Worker, free_port, ids, unique
from worker import Kafka as Client
from worker import TopicConfig
from worker.cli.commands.apply import carry_out
from worker.cli.options import Output
from worker.errors import BrokersUnreachable
from worker.flow.layout import Step
from worker.kafka.admin import KafkaAdmin
from worker.kafka.broker import KafkaCluster
from worker.kafka.groups import Groups
from worker.operate.planning import Plan, Planner
from worker.settings import KafkaSettings
from worker.spec import load
from worker.types import TopicPartition

pytestmark = pytest.mark.kafka

Value = dict[str, Any]


class Yard:
    """A spec with one pipeline that has tiers, fences and dead letters, and the commands on it."""

    def __init__(
        self, kafka: Kafka, folder: Path, settings: Mapping[str, Any] | None = None, **top: Any
    ) -> None:
        self.kafka, self.folder, self.name, self.port = kafka, folder, unique("yard"), free_port()
        self.source, self.target = f"{self.name}.in", f"{self.name}.out"
        self.dead, self.group = f"{self.name}.dlq", f"{self.name}.orders"
        self.pipeline: Value = {
            "from": self.source,
            "to": self.target,
            "handler": "echo",
            "ordering": "key",
            "retry": {"topics": ["1m", "10m"]},
            "dead_letter": self.dead,
            **(settings or {}),
        }
        self.topics: Value = {self.source: {"partitions": 4}, self.target: {"partitions": 2}}
        self.top = top
        self.file = folder / f"{self.name}.yaml"

    @property
    def tiers(self) -> list[str]:
        return [f"{self.group}.retry.0", f"{self.group}.retry.1"]

    def write(self, **names: Value) -> None:
        spec = {
            "version": 1,
            "name": self.name,
            "kafka": {"brokers": self.kafka.address},
            "handlers": ["tests.system.handlers"],
            "topics": self.topics,
            "pipelines": names or {"orders": self.pipeline},
            "server": {"port": self.port},
            **self.top,
        }
        self.file.write_text(yaml.safe_dump(spec, sort_keys=False))

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        return worker(command, self.file, *arguments, folder=self.folder)

    def plan(self, *arguments: str) -> Value:
        code, out, err = self.run("plan", "--output", "json", *arguments)
        assert code == 0, err
        found: Value = json.loads(out)
        return found

    def applied(self, *arguments: str) -> Value:
        code, out, err = self.run("apply", "--yes", "--output", "json", *arguments)
        assert code == 0, err
        found: Value = json.loads(out)
        assert (found["failed"], found["not_tried"]) == ([], [])
        return found

    def line_of(self, text: str) -> str:
        lines = self.file.read_text().splitlines()
        number = max(n for n, line in enumerate(lines, 1) if line.strip().startswith(text))
        return f"{self.file}:{number}"

    def described(self, topic: str) -> tuple[int, Mapping[str, str]]:
        with Client(self.kafka.address) as client:
            found = client.describe_topic(topic)
            return len(found.partitions), found.config

    def finish(self, topic: str) -> None:
        """Commit all of a topic in the place of the group."""
        groups = Groups(KafkaAdmin(KafkaSettings(brokers=[self.kafka.address])).asking)
        ends = self.kafka.ends(topic, self.described(topic)[0])
        groups.reset(
            self.group, {TopicPartition(topic, number): end for number, end in enumerate(ends)}
        )


def topics_of(steps: list[Value]) -> list[str]:
    return [step["topic"] for step in steps]


def texts(notes: list[Value]) -> str:
    return "\n".join(note["text"] for note in notes)


def hidden(plan: Value) -> set[str]:
    """Topics of which a plan says that they may not be seen."""
    told = re.compile(r"topic '(\S+)' may not be seen .*: grant Describe on it")
    return {found[1] for note in plan["left"] if (found := told.fullmatch(note["text"]))}


def test_what_is_missing_is_planned_with_its_line_and_made_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()

    before, *_ = yard.run("plan", "--check")
    plan = yard.plan()
    made = yard.applied()
    after, told, _ = yard.run("plan", "--check")
    again = yard.applied()

    own = [f"{yard.group}.redrive", *yard.tiers, f"{yard.group}.fence"]
    beside = [f"{yard.dead}.ledger", f"{yard.dead}.parked"]
    wanted = [yard.source, yard.target, yard.dead, *own, *beside]
    origins = {step["topic"]: step["origin"] for step in plan["steps"]}
    assert before == 1
    assert topics_of(plan["steps"]) == topics_of(made["done"]) == wanted
    assert {step["action"] for step in plan["steps"]} == {"create"}
    assert origins[yard.source] == yard.line_of(f"{yard.source}:")
    assert origins[yard.tiers[1]] == yard.line_of("topics:")
    assert origins[yard.dead] == yard.line_of("dead_letter:")
    assert (after, told) == (0, "nothing differs\n")
    assert again["done"] == []
    assert [yard.described(topic)[0] for topic in yard.tiers] == [4, 4]
    for topic in (f"{yard.group}.fence", f"{yard.dead}.ledger"):
        assert yard.described(topic)[1]["cleanup.policy"] == "compact"


def test_a_worker_starts_on_what_was_made_and_wants_nothing_else(
    kafka: Kafka, tmp_path: Path
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()
    kafka.produce(yard.source, [(b"k", b'{"id":1}', 0)])

    with Worker(yard.file, yard.port) as process:
        process.until(lambda: len(kafka.read(yard.target)) == 1)
        assert process.stop() == 0

    assert yard.plan()["steps"] == []


def test_what_a_worker_makes_is_what_is_planned(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.topics[f"{yard.dead}.ledger"] = {"replication": 1}
    yard.write()

    with Worker(yard.file, yard.port, arguments=["--create-topics"]) as process:
        process.until(lambda: process.pipeline("orders").get("partitions"))
        assert process.stop() == 0

    left = yard.plan()
    assert [(step["action"], step["topic"]) for step in left["steps"]] == [
        ("create", f"{yard.dead}.parked")
    ]
    partitions, config = yard.described(f"{yard.dead}.ledger")
    assert (partitions, config["cleanup.policy"]) == (1, "compact")


def test_what_has_no_number_of_partitions_gets_that_of_what_it_follows(
    kafka: Kafka, tmp_path: Path
) -> None:
    yard = Yard(kafka, tmp_path)
    more = f"{yard.name}.more"
    yard.pipeline["from"] = [yard.source, more]
    yard.topics[yard.source] = {"partitions": 6}
    yard.write()

    planned = {step["topic"]: step["to"] for step in yard.plan()["steps"]}
    yard.applied()

    assert "partitions" not in planned[more]
    assert "partitions" not in planned[yard.tiers[0]]
    assert yard.described(yard.tiers[0])[0] == 6 > yard.described(more)[0]
    assert yard.described(f"{yard.dead}.parked")[0] == yard.described(yard.dead)[0]
    assert yard.plan()["steps"] == []


def test_partitions_are_added_and_those_of_tiers_with_them(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()
    yard.topics[yard.source] = {"partitions": 6}
    yard.topics[yard.target] = {"partitions": 1}
    yard.write()

    plan = yard.plan()
    code, out, err = yard.run("apply", "--yes")
    again = yard.plan()

    grown = [yard.source, *yard.tiers]
    assert topics_of(plan["steps"]) == grown
    assert [(step["from"], step["to"]) for step in plan["steps"]] == [
        ({"partitions": 4}, {"partitions": 6})
    ] * 3
    assert "keys go to others" in texts(plan["warnings"])
    assert code == 0
    assert f"changed: topic {yard.source}: partitions 4 -> 6\n" in out
    assert "has 2 partitions, and 1 are declared: partitions are never taken away" in err
    assert [yard.described(topic)[0] for topic in grown] == [6, 6, 6]
    assert yard.described(yard.target)[0] == 2
    assert again["steps"] == []
    assert len(again["left"]) == 1
    assert yard.run("plan", "--check")[0] == 1


def test_what_nobody_reads_is_made_where_it_is_declared(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path, {"retry": {"attempts": 2}})
    del yard.pipeline["dead_letter"]
    yard.topics[f"{yard.group}.redrive"] = {"partitions": 1}
    yard.write()

    assert topics_of(yard.applied()["done"]) == [*yard.topics]


def test_settings_change_one_by_one_and_others_stay(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()
    with Client(kafka.address) as client:
        client.delete_topic(yard.target)
        config = {"retention.ms": 1_000, "max.message.bytes": 5_000}
        client.create_topic(yard.target, TopicConfig(2, config=config))
        client.delete_topic(yard.tiers[0])
        client.create_topic(yard.tiers[0], TopicConfig(4, config={"retention.ms": 90_000}))
    yard.topics[yard.target] = {"config": {"retention.ms": 86_400_000, "cleanup.policy": "delete"}}
    yard.write()

    steps = {step["topic"]: step for step in yard.plan()["steps"]}
    yard.applied()

    assert steps.keys() == {yard.target, yard.tiers[0]}
    assert steps[yard.target]["from"]["config"] == {"retention.ms": "1000"}
    assert steps[yard.target]["to"]["config"] == {"retention.ms": "86400000"}
    assert steps[yard.tiers[0]]["to"]["config"]["retention.ms"] == "604860000"
    changed = yard.described(yard.target)[1]
    assert (changed["retention.ms"], changed["max.message.bytes"]) == ("86400000", "5000")
    assert yard.plan()["steps"] == []


def test_a_tier_that_would_lose_its_messages_as_declared_is_told(
    kafka: Kafka, tmp_path: Path
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.topics[yard.tiers[0]] = {"config": {"retention.ms": 60_000}}
    yard.write()

    left = yard.plan()["left"]
    code, *_ = yard.run("plan", "--check")

    assert "has retention.ms=60000, and messages wait there for 60s" in texts(left)
    assert code == 1


def test_a_tier_that_is_not_configured_any_more_goes_when_it_is_asked_for_and_holds_nothing(
    kafka: Kafka, tmp_path: Path
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()
    first, second = yard.tiers
    fence = f"{yard.group}.fence"
    kafka.produce(second, [(b"k", b"1", 0)])
    del yard.pipeline["retry"]
    yard.write()

    held = yard.plan("--allow-delete")
    yard.applied()
    assert topics_of(yard.applied("--allow-delete")["done"]) == [first]
    assert topics_of(held["steps"]) == [first]
    assert f"topic '{second}' is that of a tier that is no longer configured" in texts(
        held["warnings"]
    )
    assert f"'{fence}' stays as long as '{second}' holds messages" in texts(held["warnings"])

    yard.finish(second)
    free = yard.plan()
    yard.applied()
    code, *_ = yard.run("plan", "--check")
    assert code == 0
    assert "--allow-delete deletes it" in texts(free["warnings"])

    assert topics_of(yard.applied("--allow-delete")["done"]) == [second, fence]
    with Client(kafka.address) as client:
        assert not {first, second, fence} & {*client.list_topics()}


def test_what_members_of_the_group_may_still_write_to_is_not_deleted(
    kafka: Kafka, tmp_path: Path
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()

    with Worker(yard.file, yard.port) as process:
        process.until(lambda: process.pipeline("orders").get("partitions"))
        del yard.pipeline["retry"]
        yard.write()
        plan = yard.plan("--allow-delete")
        assert process.stop() == 0

    assert plan["steps"] == []
    assert f"stays while group '{yard.group}' has members" in texts(plan["warnings"])


def test_a_pipeline_with_a_new_name_is_told_to_start_anew(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()
    yard.finish(yard.source)

    same = yard.plan()
    yard.write(purchases=yard.pipeline)
    renamed = yard.plan()
    yard.write(purchases={**yard.pipeline, "group": yard.group})
    kept = yard.plan()

    told = f"'{yard.group}', which no pipeline has, has read the same topics: a renamed pipeline"
    assert "renamed" not in texts(same["warnings"])
    assert told in texts(renamed["warnings"])
    assert "renamed" not in texts(kept["warnings"])


def test_a_spec_with_a_new_name_is_told_to_start_anew(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied()
    yard.finish(yard.source)
    yard.name = unique("fresh")
    yard.write()

    renamed = yard.plan()
    with subscribed(kafka, yard.group, yard.source):
        taken = yard.plan()
    yard.write(other=yard.pipeline)
    other = yard.plan()

    told = f"'{yard.group}', which no pipeline has, has read the same topics: a renamed pipeline or"
    assert told in texts(renamed["warnings"])
    assert "renamed" not in texts(taken["warnings"])
    assert "renamed" not in texts(other["warnings"])


@contextmanager
def subscribed(kafka: Kafka, group: str, topic: str) -> Iterator[None]:
    """A member of a group as long as the context lasts."""
    member = Consumer({"bootstrap.servers": kafka.address, "group.id": group})
    with closing(member):
        member.subscribe([topic])
        while not member.assignment():
            member.poll(1)
        yield


def test_one_refusal_does_not_keep_the_others_and_ends_with_1(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.topics[yard.target] = {"replication": 10_000}
    yard.topics["a"] = {"config": {"no.such.setting": 1}}
    yard.write()

    code, out, err = yard.run("apply", "--yes")
    left = yard.plan()

    assert code == 1
    assert f"created: topic {yard.source}: partitions 4\n" in out
    assert f"not created: topic {yard.target}: " in err
    assert "not created: topic a: " in err
    assert "Traceback" not in err
    assert topics_of(left["steps"]) == [yard.target, "a"]


def test_a_broker_that_has_just_started_is_asked_about_groups_as_well(tmp_path: Path) -> None:
    """It has no coordinator for any group yet, which ends admin clients that ask for offsets."""
    with KafkaCluster() as cluster:
        yard = Yard(Kafka(cluster.address), tmp_path)
        yard.write()

        code, out, err = yard.run("plan")

    assert code == 0, err
    assert "9 to create, 0 to change, 0 to delete\n" in out


def test_a_cluster_that_is_away_ends_with_69(tmp_path: Path) -> None:
    yard = Yard(Kafka("127.0.0.1:1"), tmp_path)
    yard.write()

    for command in ("plan", "apply"):
        code, out, err = yard.run(command)
        assert (code, out) == (69, "")
        assert "no broker of 127.0.0.1:1 answered" in err


class Falling(Planner):
    """A planner whose broker falls silent after the first step."""

    def __init__(self, cluster: KafkaCluster, file: Path) -> None:
        super().__init__(load(file, {}))
        self._cluster = cluster

    def apply(self, plan: Plan) -> Iterator[tuple[Step, str | None]]:
        for done in super().apply(plan):
            yield done
            self._cluster.pause_node(0)


@pytest.mark.parametrize("output", ["table", "json"])
def test_what_was_done_before_the_brokers_were_away_is_told_and_what_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: Output
) -> None:
    with KafkaCluster() as cluster:
        yard = Yard(Kafka(cluster.address), tmp_path)
        yard.write()
        planner = Falling(cluster, yard.file)
        plan = planner.plan()

        with pytest.raises(BrokersUnreachable):
            carry_out(planner, plan, output)
        cluster.resume_node(0)

    out, err = capsys.readouterr()
    if output == "table":
        assert out == f"created: topic {yard.source}: partitions 4\n"
        assert err.count(": not tried\n") == 8
    else:
        told = json.loads(out)
        assert topics_of(told["done"]) == [yard.source]
        assert (told["failed"], len(told["not_tried"])) == ([], 8)


class Interrupted(Planner):
    """A planner that Ctrl-C stops after the first step."""

    def apply(self, plan: Plan) -> Iterator[tuple[Step, str | None]]:
        yield next(super().apply(plan))
        raise KeyboardInterrupt


def test_what_was_done_before_it_was_stopped_is_told_and_what_was_not(
    kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    planner = Interrupted(load(yard.file, {}))
    plan = planner.plan()

    with pytest.raises(KeyboardInterrupt):
        carry_out(planner, plan, "table")

    out, err = capsys.readouterr()
    assert out == f"created: topic {yard.source}: partitions 4\n"
    assert err.count(": not tried\n") == 8


@pytest.mark.parametrize(("answer", "code", "made"), [("n", 1, 0), ("y", 0, 1)])
def test_on_a_terminal_it_asks_before_it_changes_anything(
    kafka: Kafka, tmp_path: Path, answer: str, code: int, made: int
) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()

    done = answering(answer, "apply", str(yard.file))

    assert done.returncode == code
    assert "Make these changes (9)? [y/N]:" in done.stderr
    with Client(kafka.address) as client:
        assert client.list_topics().count(yard.source) == made


def test_without_anybody_to_ask_nothing_is_changed(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()

    code, _, err = yard.run("apply")

    assert code == 2
    assert "there is nobody to ask: give --yes, or worker plan to see the plan" in err
    assert len(yard.plan()["steps"]) == 9


def test_a_worker_runs_with_the_rights_that_are_granted_and_no_others(
    guarded: Guarded, tmp_path: Path
) -> None:
    principal = f"User:{guarded.user}"
    yard = Yard(guarded.kafka, tmp_path, {"delivery": "exactly_once", "handler": "need_file"})
    yard.topics[f"{yard.name}.also"] = {}
    yard.write()

    planned = yard.plan("--principal", principal)
    grants = [step for step in planned["steps"] if "right" in step]
    yard.applied("--principal", principal)
    again = yard.plan("--principal", principal)
    yard.top["kafka"] = guarded.settings
    yard.write()
    file = tmp_path / "needed"
    file.touch()
    value = json.dumps({"id": 1, "file": str(file)}).encode()
    gone = json.dumps({"id": 2, "file": "/nowhere"}).encode()
    guarded.kafka.produce(yard.source, [(b"a", value, 0), (b"b", gone, 1)])
    with Worker(yard.file, yard.port) as process:
        process.until(lambda: ids(guarded.kafka.read(yard.target)) == [1])
        process.until(lambda: len(guarded.kafka.read(yard.tiers[0])) == 1)
        assert process.stop() == 0
        log = process.log

    rights = {
        (one["right"]["kind"], one["right"]["name"], one["right"]["operation"]) for one in grants
    }
    assert ("GROUP", yard.group, "READ") in rights
    assert ("TRANSACTIONAL_ID", f"{yard.group}.", "WRITE") in rights
    assert ("TOPIC", f"{yard.name}.also", "WRITE") in rights
    assert ("TOPIC", yard.source, "WRITE") not in rights
    assert {one["principal"] for one in grants} == {principal}
    assert again["steps"] == []
    assert "AUTHORIZATION" not in log
    assert "cannot be read" not in log


def test_rights_that_one_lacks_for_a_plan_are_told(guarded: Guarded, tmp_path: Path) -> None:
    yard = Yard(guarded.kafka, tmp_path)
    yard.write()
    yard.applied()
    yard.top["kafka"] = guarded.settings
    yard.write()
    guarded.grant(yard.name, ResourceType.TOPIC, [AclOperation.DESCRIBE])

    code, out, err = yard.run("plan", "--check", "--principal", "User:bob")
    known = KafkaAdmin(load(yard.file, {}).spec.kafka).describe([yard.source])[yard.source]

    assert code == 1, err
    assert "authorization failed" in known.unread
    assert "rights of User:bob are not told: " in out
    assert f"the settings of topic '{yard.tiers[0]}' cannot be read: grant DescribeConfigs" in out
    assert "max.message.bytes" not in err
    assert "Traceback" not in err

    yard.topics[late := f"{yard.name}.late"] = {"partitions": 1}
    yard.write()
    code, _, err = yard.run("apply", "--yes")
    assert code == 1
    assert f"not created: topic {late}: partitions 1: TOPIC_AUTHORIZATION_FAILED" in err
    assert f"grant this user Create on topic {late}\n" in err


def test_topics_that_may_not_be_seen_are_told_and_not_taken_for_missing(
    guarded: Guarded, tmp_path: Path
) -> None:
    yard = Yard(guarded.kafka, tmp_path)
    yard.write()
    yard.applied()
    yard.top["kafka"] = guarded.settings
    yard.write()
    blind = yard.plan()
    guarded.grant(yard.source, ResourceType.TOPIC, [AclOperation.DESCRIBE])
    guarded.grant(yard.dead, ResourceType.TOPIC, [AclOperation.DESCRIBE])
    half = yard.plan()
    guarded.grant(yard.name, ResourceType.TOPIC, [AclOperation.CREATE])
    applied = yard.applied()
    guarded.grant(yard.name, ResourceType.TOPIC, [AclOperation.DESCRIBE])
    whole = yard.plan()

    own = [f"{yard.group}.redrive", *yard.tiers, f"{yard.group}.fence"]
    assert blind["steps"] == half["steps"] == whole["steps"] == applied["done"] == []
    assert hidden(blind) == {yard.source, yard.target, yard.dead, own[0]}
    assert hidden(half) == {yard.target, *own}
    assert hidden(whole) == set()


def test_without_access_control_there_are_no_rights_to_grant(kafka: Kafka, tmp_path: Path) -> None:
    yard = Yard(kafka, tmp_path)
    yard.write()
    yard.applied("--principal", "User:bob")

    plan = yard.plan("--principal", "User:bob")

    assert (plan["steps"], plan["left"]) == ([], [])
    assert "the cluster has no access control" in texts(plan["warnings"])
