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


@pytest.mark.parametrize(
    ("place", "kafka"),
    [
        ("security.password", "{security: {password: canary}}"),
        ("security.password", "{security: {'password': 'a ${file:/canary}'}}"),
        ("security.password", "{security: {password: '${X:canary}'}}"),
        ("security.password", "{security: {password: '${Xfile:canary}'}}"),
        ("librdkafka.sasl.password", "{librdkafka: [{sasl.password: canary}]}"),
        ("security.password", "{security: {password: {of: canary}}}"),
        ("security.key", "{security: {key: '-----BEGIN PRIVATE KEY-----canary'}}"),
        ("security.key_password", "{security: {key_password: canary}}"),
        ("security.oauth.client_secret", "{security: {oauth: {client_secret: canary}}}"),
        ("librdkafka.sasl.password", "{librdkafka: {sasl.password: canary}}"),
        ("librdkafka.ssl.key.password", "{librdkafka: {ssl.key.password: '${X:canary}'}}"),
        ("librdkafka.ssl.key.pem", "{librdkafka: {ssl.key.pem: canary}}"),
        (
            "librdkafka.sasl.oauthbearer.client.secret",
            "{librdkafka: {sasl.oauthbearer.client.secret: canary}}",
        ),
        (
            "librdkafka.sasl.oauthbearer.config",
            "{librdkafka: {sasl.oauthbearer.config: canary}}",
        ),
        (
            "librdkafka.sasl.oauthbearer.assertion.private.key.passphrase",
            "{librdkafka: {sasl.oauthbearer.assertion.private.key.passphrase: canary}}",
        ),
        ("SASL_PASSWORD", "{SASL_PASSWORD: canary}"),
    ],
)
def test_a_secret_in_the_spec_is_refused_and_not_shown(
    chart: Chart, place: str, kafka: str
) -> None:
    spec = f"name: x\nkafka: {kafka}\npipelines: {{p: {{from: t, handler: h}}}}\n"

    refusal = chart.refusal("default", {"spec": spec})

    assert f"spec: kafka.{place}: a ConfigMap is no place for a secret" in refusal
    assert "${file:/run/secrets/kafka/NAME}" in refusal
    assert "canary" not in refusal


@pytest.mark.parametrize("secret", ["${PASSWORD}", "${file:/run/secrets/kafka/password}"])
def test_a_spec_may_say_where_a_secret_is(chart: Chart, secret: str) -> None:
    spec = (
        f"name: x\nkafka: {{security: {{password: '{secret}'}}}}\n"
        "pipelines: {p: {from: t, handler: h}}\n"
    )

    assert chart.render("default", {"spec": spec}).config["spec.yaml"] == spec


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
