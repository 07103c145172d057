"""The spec and the handlers as pods get them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import CASES, ROOT, Chart, values_of
from tests.helm.pod import Pod
from worker.operate.project import project, write

INLINE = [case for case in CASES if "spec" in values_of(case)]


@pytest.mark.parametrize("case", INLINE)
def test_the_worker_gets_the_text_of_the_spec_as_it_was_written(chart: Chart, case: str) -> None:
    assert chart.render(case).config["spec.yaml"] == values_of(case)["spec"]


def test_a_spec_may_begin_as_a_document_of_yaml_does(chart: Chart) -> None:
    spec = f"# ours\n---\n{values_of('default')['spec']}"

    assert chart.render("default", {"spec": spec}).config["spec.yaml"] == spec


def validated(folder: Path, *files: Path) -> list[str]:
    """What `worker validate` prints of files, run in a folder with handlers."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", "validate", *files],
        cwd=folder,
        env={**os.environ, "KAFKA_BROKERS": "kafka:9092", "POD_NAME": "my-stream-worker-0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_spec_of_every_case_passes_worker_validate(chart: Chart, tmp_path: Path) -> None:
    pods = {case: Pod(chart.render(case), tmp_path / case) for case in INLINE}
    for pod in pods.values():
        pod.fill("credentials", username="x", password="y")
    own = pods.pop("handlers")

    told = validated(ROOT, *(pod.spec for pod in pods.values()))

    assert told == [f"{pod.spec}: ok" for pod in pods.values()]
    assert validated(own.app, own.spec) == [f"{own.spec}: ok"]


def checksums(chart: Chart, case: str, values: dict[str, Any]) -> dict[str, str]:
    metadata = chart.render(case, values).workload["spec"]["template"]["metadata"]
    return {
        key: value for key, value in metadata.get("annotations", {}).items() if "checksum" in key
    }


@pytest.mark.parametrize(
    ("case", "values", "rolled"),
    [
        ("handlers", {"spec": values_of("handlers")["spec"] + "# changed\n"}, {"checksum/config"}),
        ("handlers", {"handlers.files": {"greetings.py": "# changed"}}, {"checksum/config"}),
        ("trial", {"credentials.values": {"password": "changed"}}, {"checksum/secret"}),
        ("handlers", {"replicaCount": 3}, set()),
    ],
)
def test_pods_are_replaced_when_what_they_have_read_changes(
    chart: Chart, case: str, values: dict[str, Any], rolled: set[str]
) -> None:
    before, after = checksums(chart, case, {}), checksums(chart, case, values)

    assert before.keys() == after.keys()
    assert {key for key in before if before[key] != after[key]} == rolled


def test_pods_that_are_not_to_be_replaced_have_no_checksum(chart: Chart) -> None:
    values = {"workload.rollOnConfig": False, "workload.rollOnSecret": False}

    assert checksums(chart, "trial", values) == {}


def test_a_spec_that_is_there_already_is_mounted_where_the_worker_looks(chart: Chart) -> None:
    rendered = chart.render("existing")
    volumes = {volume["name"]: volume for volume in rendered.pod["volumes"]}

    assert rendered.all("ConfigMap") == []
    assert volumes["spec"]["configMap"] == {
        "name": "flights-spec",
        "items": [{"key": "flights.yaml", "path": "spec.yaml"}],
    }
    assert volumes["handlers"]["configMap"] == {"name": "flights-handlers"}
    assert volumes["credentials"]["secret"]["secretName"] == "kafka-credentials"
    assert rendered.pod["serviceAccountName"] == "flights"


def test_the_values_of_a_new_project_deploy_it(chart: Chart, tmp_path: Path) -> None:
    write(tmp_path, project("greetings"))
    spec = tmp_path / "config" / "greetings.yaml"
    given = ("--values", f"{tmp_path}/values.yaml", "--set-file", f"spec={spec}")

    rendered = chart.render("default", None, *given, release="greetings")

    assert rendered.container["image"] == "greetings:1"
    assert rendered.env["KAFKA_BROKERS"]["value"] == "kafka:9092"
    assert rendered.config["spec.yaml"] == spec.read_text()
