"""Secrets are in Secrets and nowhere else."""

from __future__ import annotations

import json

import pytest

from tests.helm.chart import CASES, Chart


@pytest.mark.parametrize("case", CASES)
def test_a_secret_among_the_values_goes_to_secrets_alone(chart: Chart, case: str) -> None:
    if case in {"existing", "credentials"}:
        return
    rendered = chart.render(case, {"credentials.values": {"password": "canary-of-ours"}})

    assert rendered.all("Secret")
    for document in rendered.documents:
        assert ("canary-of-ours" in json.dumps(document)) is (document["kind"] == "Secret")


@pytest.mark.parametrize("key", ["password", "key_password", "oauth: {client_secret", "'password'"])
def test_a_secret_in_the_spec_is_refused_and_not_shown(chart: Chart, key: str) -> None:
    closing = "}" if "{" in key else ""
    spec = f"name: x\nkafka:\n  security:\n    {key}: canary-of-ours{closing}\npipelines: {{}}\n"

    refusal = chart.refusal("default", {"spec": spec})

    assert "a ConfigMap is no place for a secret" in refusal
    assert "${file:/run/secrets/kafka/NAME}" in refusal
    assert "canary" not in refusal


def test_files_of_secrets_are_for_the_worker_alone(chart: Chart) -> None:
    pod = chart.render("credentials").pod
    secrets = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    mounts = chart.render("credentials").container["volumeMounts"]

    assert {name: secret["secretName"] for name, secret in secrets.items()} == {
        "credentials": "kafka-credentials",
        "tls": "kafka-tls",
    }
    assert all(secret["defaultMode"] == 0o440 for secret in secrets.values())
    assert {mount["mountPath"] for mount in mounts if mount["name"] in secrets} == {
        "/run/secrets/kafka",
        "/run/secrets/tls",
    }
    assert all(mount["readOnly"] for mount in mounts if mount["name"] in secrets)
