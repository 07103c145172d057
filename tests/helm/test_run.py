"""Pods of the chart, run here on a real broker: their command line, environment and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from tests.helm.chart import ROOT, Chart, Rendered, pods, values_of
from tests.helm.pod import FIELDS, Pod
from tests.secure import USERS, SecureKafka
from tests.system.rig import Kafka, free_port, unique

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka(kafka_address: str) -> Kafka:
    return Kafka(kafka_address)


def brokers(address: str) -> list[dict[str, str]]:
    return [{"name": "KAFKA_BROKERS", "value": address}]


def instances(kafka: Kafka, group: str) -> list[str]:
    """The static members of a group by their names."""
    client = AdminClient({"bootstrap.servers": kafka.address})
    described = client.describe_consumer_groups([group])[group].result()
    return [member.group_instance_id for member in described.members]


def test_a_pod_with_handlers_from_values_runs_and_the_helm_test_finds_it_ready(
    chart: Chart, kafka: Kafka, tmp_path: Path
) -> None:
    source, target, port = unique("visitors"), unique("greetings"), free_port()
    spec = values_of("handlers")["spec"].replace("from: visitors", f"from: {source}")
    spec = spec.replace("to: greetings", f"to: {target}")
    values = {"spec": spec, "http.port": port, "env": brokers(kafka.address)}
    rendered = chart.render("handlers", values)

    with Pod(rendered, tmp_path, port).worker() as worker:
        worker.until(worker.is_ready)
        told = helm_test(rendered, port)
        kafka.produce(source, [(None, b'{"name":"Ada"}', -1)])
        worker.until(lambda: worker.pipeline("greet")["counts"]["produced"])
        assert worker.stop() == 0

    assert json.loads(told) == {"status": "ok", "reasons": []}
    (greeting,) = kafka.read(target)
    assert json.loads(greeting.value() or b"") == {"text": "Welcome, Ada"}
    assert all(json.loads(line) for line in worker.log.splitlines())


def helm_test(rendered: Rendered, port: int) -> str:
    """What the pod of `helm test` prints, its Service being this machine."""
    (container,) = rendered.one("Pod")["spec"]["containers"]
    program: list[str] = [*container["command"], *container["args"]]
    url = program.pop()
    assert program[0] == "python"
    here = url.replace("//my-stream-worker:", "//127.0.0.1:")
    assert here == f"http://127.0.0.1:{port}/readyz"
    done = subprocess.run(
        [sys.executable, *program[1:], here], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_pod_of_a_stateful_set_is_a_static_member_by_its_name(
    chart: Chart, kafka: Kafka, tmp_path: Path
) -> None:
    name, port = unique("flights"), free_port()
    spec = values_of("statefulset")["spec"].replace("kafka:9092", kafka.address)
    spec = spec.replace("name: flights", f"name: {name}")
    values = {"spec": spec, "http.port": port, "run.createTopics": True}
    rendered = chart.render("statefulset", values)

    with Pod(rendered, tmp_path, port).worker(cwd=ROOT) as worker:
        worker.until(worker.is_ready)
        members = instances(kafka, f"{name}.delays")
        assert worker.stop() == 0

    assert members == [f"{name}.delays.{FIELDS['metadata.name']}.0"]


def test_a_pod_talks_to_brokers_with_the_files_of_its_secrets(
    chart: Chart, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    port = free_port()
    values: dict[str, Any] = {
        "spec": secure_spec(secure_kafka),
        "http.port": port,
        "run.createTopics": True,
    }
    pod = Pod(chart.render("credentials", values), tmp_path, port)
    pod.fill("credentials", username="alice", password=USERS["alice"])
    pod.fill("tls", **{"ca.crt": secure_kafka.certificates.ca.read_text()})

    with pod.worker(cwd=ROOT) as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0

    assert USERS["alice"] not in worker.log


def secure_spec(secure: SecureKafka) -> str:
    """The spec of the case on these brokers, who ask for no certificate beside the password."""
    text = str(values_of("credentials")["spec"])
    text = text.replace("[kafka-0.kafka:9093, kafka-1.kafka:9093]", secure.addresses["SASL_SSL"])
    kept = [line for line in text.splitlines() if "/tls.crt" not in line and "/tls.key" not in line]
    assert len(kept) == len(text.splitlines()) - 2
    return "\n".join(kept).replace("name: flights", f"name: {unique('flights')}") + "\n"


def test_topics_are_made_before_a_roll_out_and_nothing_is_done_where_they_are_there(
    chart: Chart, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    topic = unique("flights")
    spec = yaml.safe_load(values_of("trial")["spec"])
    spec["kafka"]["brokers"] = secure_kafka.addresses["SASL_PLAINTEXT"]
    spec["kafka"]["security"]["username"] = "alice"
    spec["topics"] = {topic: {"partitions": 4}}
    spec["pipelines"] = {"delays": {"from": topic, "handler": "delays", "to": f"{topic}.out"}}
    values = {
        "spec": yaml.safe_dump(spec),
        "credentials.values": {"password": USERS["alice"]},
    }
    rendered = chart.render("trial", values)
    (pod,) = pods(rendered.one("Job"))
    job = Pod(rendered, tmp_path, pod=pod)

    first, again = job.run(), job.run()

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert topic in first.stdout
    assert again.stdout == ""
    assert len(Kafka(secure_kafka.addresses["PLAINTEXT"]).ends(topic, partitions=4)) == 4
