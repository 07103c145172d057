"""`worker topics` on a real Kafka, and what docs/topics.md and docs/groups.md say to type."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.cli.rig import environment, worker
from tests.system.guarded import Guarded
from tests.system.rig import ROOT, Kafka, Spec, unique
from worker import Kafka as Client
from worker.kafka import outside
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings
from worker.types import Commit, TopicPartition

pytestmark = pytest.mark.kafka

DOCS = ROOT / "docs"


def test_a_topic_is_made_shown_and_deleted(kafka: Kafka, tmp_path: Path) -> None:
    topic, cluster = unique("topic"), ("--brokers", kafka.address)
    layout = ("--partitions", "3", "--config", "retention.ms=600000")

    tried = worker("topics", "create", topic, *layout, "--dry-run", *cluster, folder=tmp_path)
    made = worker("topics", "create", topic, *layout, *cluster, folder=tmp_path)
    kafka.produce(topic, [(b"k", b"v", 2)] * 5)
    again, _, why = worker("topics", "create", topic, *cluster, folder=tmp_path)
    _, listed, _ = worker("topics", "list", "--output", "json", *cluster, folder=tmp_path)
    _, shown, _ = worker("topics", "describe", topic, *cluster, folder=tmp_path)
    _, told, _ = worker("topics", "describe", topic, "--output", "json", *cluster, folder=tmp_path)
    nobody, _, asked = worker("topics", "delete", topic, *cluster, folder=tmp_path)
    deleted = worker("topics", "delete", topic, "--yes", *cluster, folder=tmp_path)
    gone, _, missing = worker("topics", "describe", topic, *cluster, folder=tmp_path)

    assert tried == (0, f"{topic} could be made\n", "")
    assert made == (0, f"{topic} is made\n", "")
    assert (again, "already exists" in why) == (1, True)
    sizes = {one["topic"]: (one["partitions"], one["replicas"]) for one in json.loads(listed)}
    assert sizes[topic] == (3, 1)
    assert not any(name.startswith("__") for name in sizes)
    assert re.search(r"^2 +0 +0 +0 +- +0 +5 +5$", shown, re.MULTILINE)
    assert re.search(r"^retention\.ms +600000$", shown, re.MULTILINE)
    value = json.loads(told)
    assert [one["end"] for one in value["partitions"]] == [0, 0, 5]
    assert value["config"]["retention.ms"] == "600000"
    assert nobody == 2
    assert f"{topic}: 3 partitions, 5 records at most\n" in asked
    assert deleted[:2] == (0, f"{topic} is deleted\n")
    assert (gone, f"topic {topic} does not exist" in missing) == (1, True)


def test_who_may_make_a_topic_and_not_see_it_is_told_so(guarded: Guarded, tmp_path: Path) -> None:
    topic, file = unique("blind"), Spec(guarded.kafka, tmp_path, "echo").written()
    spec = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**spec, "kafka": guarded.settings}))
    guarded.grant(topic, ResourceType.TOPIC, [AclOperation.CREATE])

    code, out, err = worker("topics", "create", topic, "--spec", file, folder=tmp_path)

    assert (code, out) == (1, "")
    assert f"topic {topic} is made, but is not shown to this user; grant it Describe on it" in err
    assert guarded.kafka.ends(topic, 1) == [0]


def test_programs_get_what_was_done(kafka: Kafka, tmp_path: Path) -> None:
    topic, other = unique("topic"), unique("topic")

    def told(*arguments: str) -> list[Any]:
        given = (*arguments, "--brokers", kafka.address, "--output", "json")
        code, out, err = worker("topics", *given, folder=tmp_path)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    layout = ("--partitions", "3", "--config", "retention.ms=600000")
    tried, made = told("create", topic, *layout, "--dry-run"), told("create", topic, *layout)
    told("create", other)
    deleted = told("delete", topic, other, "--yes")

    said = {"partitions": 3, "replication": None, "config": {"retention.ms": "600000"}}
    assert tried == [{"topic": topic, "made": False, **said}]
    assert made == [{"topic": topic, "made": True, **said}]
    assert deleted == [{"topic": name, "deleted": True} for name in (topic, other)]


def test_where_no_topic_is_like_one_that_is_missing_it_is_said_what_to_do(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic, other = unique("orders"), "zzzzqqqq"
    kafka.create(topic, partitions=2)

    def told(*arguments: str) -> str:
        code, out, err = worker(*arguments, "--brokers", kafka.address, folder=tmp_path)
        assert (code, out) == (2 if "--partition" in arguments else 1, "")
        return err

    missing = f"Error: topic {other} does not exist, or is not shown to this user"
    assert told("topics", "describe", other) == f"{missing}; `worker topics create` makes it\n"
    assert told("topics", "delete", other, "--yes") == f"{missing}\n"
    legal = "--partition: 7 is not there; legal are 0 to 1"
    assert legal in " ".join(told("tap", topic, "--partition", "7").split())


def test_a_topic_of_a_spec_is_made_as_the_spec_says_where_the_options_do_not(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    dead = f"{spec.name}.dlq"
    topics = {spec.source: {"partitions": 3, "config": {"retention.ms": 1_000}}}
    pipeline = {"from": spec.source, "handler": "echo", "dead_letter": dead}
    file = spec.written(topics=topics, pipelines={"pipeline": pipeline})

    def make(topic: str, *options: str) -> None:
        done = worker("topics", "create", topic, *options, "--spec", file, folder=tmp_path)
        assert done[0] == 0, done

    make(spec.source, "--partitions", "5")
    make(f"{dead}.ledger")

    with Client(kafka.address) as client:
        source, ledger = client.describe_topic(spec.source), client.describe_topic(f"{dead}.ledger")
    assert (len(source.partitions), source.config["retention.ms"]) == (5, "1000")
    assert (len(ledger.partitions), ledger.config["cleanup.policy"]) == (1, "compact")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("create", "a b"), "'a b' is not legal; legal are letters"),
        (("create", "a", "--config", "retention.ms"), "is not NAME=VALUE"),
        (("delete", "__consumer_offsets", "--yes"), "is Kafka's own"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    code, out, err = worker("topics", *arguments, "--brokers", "127.0.0.1:1", folder=tmp_path)

    assert (code, out) == (2, "")
    assert why in " ".join(err.split())


def test_a_cluster_that_is_away_ends_with_69(tmp_path: Path) -> None:
    for command in (("list",), ("describe", "a"), ("create", "a"), ("delete", "a", "--yes")):
        code, _, err = worker("topics", *command, "--brokers", "127.0.0.1:1", folder=tmp_path)
        assert code == 69, err
        assert "Traceback" not in err


def test_every_command_of_the_pages_does_what_it_says(kafka: Kafka, tmp_path: Path) -> None:
    spec = (ROOT / "config" / "flights.yaml").read_text()
    name, orders = unique("flights"), unique("orders")
    (tmp_path / "config").mkdir()
    written = re.sub(r"(?<!handlers\.)\bflights\b", name, spec)
    written = re.sub(r"\b(delays|alerts)\b(?=: \{partitions)", rf"{name}.\1", written)
    written = re.sub(r"(from|to): (delays|alerts)\b", rf"\1: {name}.\2", written)
    (tmp_path / "config" / "flights.yaml").write_text(written)
    kafka.create(name)
    asking = KafkaAdmin(KafkaSettings(brokers=[kafka.address])).asking
    outside.commit(asking, f"{name}.delays", {TopicPartition(name, 0): Commit(0)})
    replaced = {"localhost:9092": kafka.address, "flights.delays": f"{name}.delays"}
    replaced |= {"--topic flights": f"--topic {name}", " orders ": f" {orders} "}
    blocks = [
        block
        for page in ("topics.md", "groups.md")
        for block in re.findall(
            r"^```sh\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
        )
    ]
    bin_folder = Path(sys.executable).parent
    environ = environment(
        PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}", KAFKA_BROKERS=kafka.address
    )

    codes = {}
    for line in "".join(blocks).splitlines():
        command = f"{line.partition('#')[0]} "
        for old, new in replaced.items():
            command = command.replace(old, new)
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environ, capture_output=True, check=False
        )
        codes[line] = done.returncode
        assert b"Traceback" not in done.stderr

    assert len(codes) == 13
    assert [line for line, code in codes.items() if code] == [
        line for line in codes if "--check" in line
    ]
