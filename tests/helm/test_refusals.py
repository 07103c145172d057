"""Values that cannot work are refused, with the place and what is legal; weak ones are told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.chart import CHART, Chart, arguments, file_of

SPEC = "name: x\nkafka: {brokers: 'k:1'}\npipelines:\n  p: {from: t, handler: h}\n"


@pytest.mark.parametrize(
    ("case", "values", "text"),
    [
        ("default", {"spec": ""}, "spec: give the spec, as by --set-file spec=flights.yaml"),
        ("default", {"spec": "{"}, "spec: it is no YAML: "),
        ("default", {"spec": "5"}, "spec: legal is a map, keys with their values\n"),
        (
            "default",
            {"spec": f"# one\n---\n{SPEC}---\nkafka: {{security: {{password: x}}}}\n"},
            "spec: there are several documents in it, divided by --- or ...; legal is one",
        ),
        ("default", {"spec": "a: b"}, "spec: pipelines: there are none; legal is a map such as"),
        ("default", {"spec": "pipelines: {}"}, "spec: pipelines: there are none"),
        ("default", {"spec": "pipelines: 5"}, "spec: pipelines: legal is a map, keys with"),
        ("default", {"spec": "pipelines: {a: 5}"}, "spec: pipelines.a: legal is a map, keys with"),
        ("default", {"spec": "pipelines: {a: }"}, "spec: pipelines.a: legal is a map, keys with"),
        ("default", {"spec": SPEC + "topics: [t]"}, "spec: topics: legal is a map, keys with"),
        ("default", {"spec": SPEC + "topics: {t: 5}"}, "spec: topics.t: legal is a map, keys with"),
        (
            "keda",
            {"spec": "kafka: k:1\npipelines: {p: {from: t}}"},
            "spec: kafka: legal is a map, keys with their values, and it is one value",
        ),
        (
            "keda",
            {"spec": "kafka: {security: [x]}\npipelines: {p: {from: t}}"},
            "spec: kafka.security: legal is a map, keys with their values, and it is a list",
        ),
        (
            "keda",
            {"spec": "name: x\npipelines: {p: {from: t}}", "partitions": {"t": 1}},
            "spec: kafka.brokers: the chart has to know it, and it is not there",
        ),
        (
            "keda",
            {"spec": "kafka: {brokers: {a: b}}\npipelines: {p: {from: t}}", "partitions.t": 1},
            "spec: kafka.brokers: the chart has to know it, and it is no text",
        ),
        (
            "keda",
            {"spec": "name: x\npipelines: {p: {from: {t: u}}}"},
            "spec: pipelines.p.from: the chart has to know it, and it is no text",
        ),
        (
            "keda",
            {"spec": "name: x\nkafka: {brokers: 'k:1'}\npipelines: {p: {handler: h}}"},
            "spec: pipelines.p.from: the chart has to know it, and it is not there",
        ),
        (
            "existing",
            {"spec": SPEC},
            "spec and existingConfigMap.name exclude each other: give one of them",
        ),
        (
            "handlers",
            {"handlers.existingConfigMap": "x"},
            "handlers.files and handlers.existingConfigMap exclude each other",
        ),
        (
            "trial",
            {"credentials.existingSecret": "x"},
            "credentials.values and credentials.existingSecret exclude each other",
        ),
        (
            "keda",
            {"autoscaling.enabled": True},
            "autoscaling.enabled and keda.enabled exclude each other",
        ),
        (
            "monitoring",
            {"serviceMonitor.enabled": True},
            "podMonitor.enabled and serviceMonitor.enabled exclude each other",
        ),
        ("servicemonitor", {"service.enabled": False}, "service.enabled must be true"),
        ("statefulset", {"workload.kind": "Deployment"}, "legal with workload.kind StatefulSet"),
        (
            "default",
            {"run.only": ["alarms"]},
            "run.only: the spec has no pipeline alarms; legal are alerts, delays",
        ),
        (
            "default",
            {"spec": SPEC + "instance: one\n"},
            "spec: instance: one would be that of every pod, and each needs one of its own",
        ),
        (
            "default",
            {"terminationGracePeriodSeconds": 39},
            "terminationGracePeriodSeconds: 39 is too short: the worker drains for up to 25 s and "
            "needs 15 more to commit and leave, after 0 s of preStop; legal is 40 or more",
        ),
        (
            "default",
            {"spec": SPEC + "drain_timeout: 25\n"},
            'drain_timeout: "25" is not a duration',
        ),
        (
            "default",
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
            "env: there are two with the name A",
        ),
        (
            "default",
            {"run.extraArgs": ["--listen=0.0.0.0:9"]},
            "run.extraArgs: --listen is given by the chart; set http.host and http.port\n",
        ),
        (
            "default",
            {"run.extraArgs": ["--path", "/opt", "--processes", "2"]},
            "run.extraArgs: --processes is given by the chart; set run.processes\n",
        ),
        (
            "everything",
            {"extraVolumeMounts": [{"name": "x", "mountPath": "/x"}] * 2},
            "extraVolumeMounts: there are two with the mountPath /x",
        ),
        (
            "default",
            {"extraVolumes": [{"name": "spec", "emptyDir": {}}]},
            "extraVolumes: the name spec is that of the chart; give another",
        ),
        (
            "credentials",
            {"extraVolumes": [{"name": "credentials", "emptyDir": {}}]},
            "extraVolumes: the name credentials is that of the chart; give another",
        ),
        (
            "default",
            {"extraVolumeMounts": [{"name": "x", "mountPath": "/etc/stream-worker/"}]},
            "extraVolumeMounts: the mountPath /etc/stream-worker is that of the chart",
        ),
        (
            "statefulset",
            {"workload.volumeClaimTemplates": [{"metadata": {"name": "spec"}}]},
            "workload.volumeClaimTemplates: the name spec is that of a volume of the chart",
        ),
        (
            "keda",
            {"partitions": {"payments": 8}},
            "partitions: the chart has to know how many ^clicks-.* has, since more pods would have "
            "nothing to read; say so in the value partitions\n",
        ),
        (
            "keda",
            {"partitions": {"^clicks-.*": 6}},
            "partitions: the chart has to know how many payments has, since more pods would have "
            "nothing to read; say so in topics.payments.partitions of the spec, or in the value",
        ),
        (
            "keda",
            {"spec": SPEC + "topics: {t: {partitions: ten}}\n"},
            "spec: topics.t.partitions: ten is no number",
        ),
        (
            "keda",
            {"spec": SPEC + "topics: {t: {partitions: '${OF_T}'}}\n"},
            "spec: topics.t.partitions: the chart has to know it, and cannot know ${OF_T}",
        ),
        (
            "keda",
            {"keda.maxReplicas": 9},
            "keda.maxReplicas: 9 pods are more than have partitions to read; legal is at most 8",
        ),
        (
            "autoscaling",
            {"autoscaling.minReplicas": 7},
            "autoscaling.minReplicas: 7 is more than maxReplicas, 6",
        ),
        ("existing", {"autoscaling.maxReplicas": None}, "autoscaling.maxReplicas: say how many"),
        (
            "existing",
            {"autoscaling.enabled": False, "keda.enabled": True, "keda.maxReplicas": 2},
            "keda.triggers: give them",
        ),
        (
            "keda",
            {"env": []},
            "spec: kafka.brokers: the chart has to know it, and cannot know ${KAFKA_BROKERS}; "
            "give KAFKA_BROKERS a value in env, or write it out",
        ),
        (
            "keda",
            {"env": [{"name": "KAFKA_BROKERS", "valueFrom": {}}]},
            "cannot know ${KAFKA_BROKERS}",
        ),
        (
            "keda",
            {
                "spec": SPEC.replace("k:1", "${BROKERS:localhost:9092}"),
                "partitions": {"t": 1},
                "envFrom": [{"secretRef": {"name": "kafka"}}],
            },
            "spec: kafka.brokers: the chart has to know it, and cannot know ${BROKERS:localhost:",
        ),
        (
            "default",
            {
                "spec": SPEC.replace("k:1", "${BROKERS:localhost:9092}"),
                "networkPolicy.enabled": True,
                "envFrom": [{"configMapRef": {"name": "kafka"}, "prefix": "BRO"}],
            },
            "spec: kafka.brokers: the chart has to know it, and cannot know ${BROKERS:localhost:",
        ),
        (
            "keda",
            {"spec": SPEC.replace("from: t", "from: t, group: no"), "partitions": {"t": 1}},
            "spec: pipelines.p.group: the chart has to know it, and Helm takes it for false",
        ),
        (
            "keda",
            {"spec": SPEC.replace("  p:", "  on:"), "partitions": {"t": 1}},
            "spec: the name of pipelines.true: the chart has to know it",
        ),
        (
            "keda",
            {"keda.minReplicas": 0},
            "keda.minReplicas: pipelines.every reads by a pattern",
        ),
        (
            "keda",
            {"keda.metadata": {"limitToPartitionsWithLag": "true"}},
            "keda.metadata.limitToPartitionsWithLag: it needs topics",
        ),
        (
            "credentials",
            {"credentials.existingSecret": ""},
            "keda: it needs the user and the password in a Secret",
        ),
        ("credentials", {"tls.existingSecret": ""}, "keda: it needs the certificates in a Secret"),
        (
            "existing",
            {"networkPolicy.enabled": True},
            "networkPolicy.brokerPorts: say which",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    chart: Chart, case: str, values: dict[str, Any], text: str
) -> None:
    assert text in chart.refusal(case, values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"replicas": 2}, "'replicas' not allowed"),
        ({"image.tags": "x"}, "'tags' not allowed"),
        ({"replicaCount": "two"}, "at '/replicaCount': got string, want integer"),
        ({"workload.kind": "DaemonSet"}, "at '/workload/kind'"),
        ({"image": None}, "missing property 'image'"),
        ({"keda": None}, "missing property 'keda'"),
        ({"image.repository": None}, "at '/image': missing property 'repository'"),
        ({"fullnameOverride": "UPPER_x"}, "at '/fullnameOverride'"),
        ({"fullnameOverride": "7up"}, "at '/fullnameOverride'"),
        ({"nameOverride": "x-"}, "at '/nameOverride'"),
        ({"extraVolumeMounts": [{"name": "x"}]}, "missing property 'mountPath'"),
        ({"keda.lagThreshold": 0}, "at '/keda/lagThreshold'"),
        ({"run.processes": 0}, "at '/run/processes'"),
        ({"image.digest": "sha256:12"}, "at '/image/digest'"),
        ({"podDisruptionBudget.maxUnavailable": "all"}, "at '/podDisruptionBudget/maxUnavailable'"),
        ({"podAnnotations": {"a": 1}}, "at '/podAnnotations/a': got number, want string"),
        ({"spec": {"name": "x"}}, "at '/spec': got object, want string"),
        (
            {"keda.metadata": {"limitToPartitionsWithLag": "true", "allowIdleConsumers": "true"}},
            "at '/keda/metadata'",
        ),
    ],
)
def test_values_of_a_wrong_form_are_refused(
    chart: Chart, values: dict[str, Any], text: str
) -> None:
    refusal = chart.refusal("default", values)

    assert "values don't meet the specifications of the schema" in refusal
    assert text in refusal


def notes(chart: Chart, case: str, *given: str) -> str:
    """What is told after an install; Helm 3 tells it only where there is a cluster."""
    done = chart.helms[4].run(
        "install", "my", CHART, "--values", file_of(case), "--dry-run=client", *given
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("stream-worker 0.1.0 runs as ")[2]


def test_notes_say_what_to_do_next(chart: Chart) -> None:
    told = notes(chart, "autoscaling")

    assert "kubectl -n default rollout status deployment/my-stream-worker" in told
    assert "kubectl -n default port-forward deployment/my-stream-worker 8080:8080" in told
    assert "helm -n default test my" in told
    assert "[WARNING]" not in told


@pytest.mark.parametrize(("enabled", "times"), [("false", 1), ("true", 0)])
def test_notes_say_how_topics_are_made_where_the_release_does_not(
    chart: Chart, enabled: str, times: int
) -> None:
    told = notes(chart, "autoscaling", "--set", f"migration.enabled={enabled}")

    for line in ("  worker plan SPEC", "  worker apply SPEC"):
        assert told.splitlines().count(line) == times
    assert ("migration.enabled" in told) is (times == 1)


@pytest.mark.parametrize(
    ("case", "given", "text"),
    [
        ("trial", (), "credentials.values is for trials"),
        ("default", (), "resources is empty"),
        (
            "default",
            ("--set", "replicaCount=50"),
            "replicaCount is 50, and no more than 6 pods have partitions to read",
        ),
        (
            "default",
            ("--set", "replicaCount=4,run.processes=2"),
            "replicaCount is 4, and no more than 3 pods have partitions to read",
        ),
        (
            "default",
            ("--set", "podDisruptionBudget.maxUnavailable=0"),
            "podDisruptionBudget.maxUnavailable is 0: no node with a pod of this release can be",
        ),
        (
            "default",
            ("--set", "podDisruptionBudget.maxUnavailable=0%"),
            "podDisruptionBudget.maxUnavailable is 0%: no node",
        ),
        ("servicemonitor", (), "pods of the StatefulSet are no static members"),
        (
            "statefulset",
            ("--set", "workload.kind=Deployment,workload.volumeClaimTemplates=null"),
            "set workload.kind to StatefulSet",
        ),
        (
            "statefulset",
            ("--set", "autoscaling.enabled=true,partitions.flights=4"),
            "static members do not leave their group",
        ),
    ],
)
def test_notes_warn_of_what_does_not_work_well(
    chart: Chart, case: str, given: tuple[str, ...], text: str
) -> None:
    told = notes(chart, case, *given)

    assert any(line.startswith("[WARNING]") and text in line for line in told.splitlines()), told


@pytest.mark.parametrize(
    ("case", "values"),
    [
        ("default", {"replicaCount": 6}),
        ("default", {"replicaCount": 50, "run.only": ["delays"], "partitions.flights": 50}),
        ("keda", {"replicaCount": 50}),  # which does not count
        ("keda", {"replicaCount": 50, "keda.enabled": False, "partitions": None}),
        ("default", {"replicaCount": 50, "spec": SPEC + "topics: {t: {partitions: '${OF_T}'}}"}),
        ("default", {"replicaCount": 50, "spec": SPEC.replace("from: t", "from: '${OF_T}'")}),
        ("default", {"podDisruptionBudget": {"enabled": False, "maxUnavailable": 0}}),
    ],
)
def test_notes_do_not_warn_of_what_is_right_or_not_known(
    chart: Chart, case: str, values: dict[str, Any]
) -> None:
    told = notes(chart, case, *arguments(values))

    warnings = [line for line in told.splitlines() if line.startswith("[WARNING]")]
    assert [line for line in warnings if "replicaCount" in line or "drained" in line] == []
