"""How many pods there are, and who decides it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.chart import CASES, Chart


@pytest.mark.parametrize("case", CASES)
def test_the_number_of_pods_is_left_to_whoever_scales_them(chart: Chart, case: str) -> None:
    rendered = chart.render(case)
    scalers = rendered.all("HorizontalPodAutoscaler", "ScaledObject")

    assert ("replicas" in rendered.workload["spec"]) is (not scalers)
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert target["kind"] == rendered.workload["kind"]
        assert target["name"] == rendered.workload["metadata"]["name"]


def triggers(chart: Chart, case: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    spec = chart.render(case, values).one("ScaledObject")["spec"]
    found: list[dict[str, Any]] = spec["triggers"]
    return found


def test_there_is_a_trigger_for_each_topic_that_a_pipeline_reads(chart: Chart) -> None:
    found = [trigger["metadata"] for trigger in triggers(chart, "keda")]

    read = [(one["consumerGroup"], one.get("topic"), one["offsetResetPolicy"]) for one in found]
    assert read == [
        ("shop.every", None, "earliest"),
        ("shop.late", "payments", "latest"),
        ("shop-totals", "orders", "earliest"),
        ("shop-totals", "refunds", "earliest"),
    ]
    for one in found:
        assert one["bootstrapServers"] == "kafka-0:9092,kafka-1:9092"
        assert one["lagThreshold"] == "500"
        assert one["excludePersistentLag"] == "true"
        assert not {"sasl", "tls"} & one.keys()


@pytest.mark.parametrize(
    ("values", "brokers"),
    [
        ({"envFrom": [{"secretRef": {"name": "kafka"}, "prefix": "OTHER_"}]}, "localhost:9092"),
        (
            {
                "envFrom": [{"secretRef": {"name": "kafka"}}],
                "env": [{"name": "KAFKA_BROKERS", "value": "kafka:9092"}],
            },
            "kafka:9092",
        ),
    ],
)
def test_a_default_of_the_spec_counts_where_the_pod_is_given_nothing_else(
    chart: Chart, values: dict[str, Any], brokers: str
) -> None:
    spec = (
        "name: x\nkafka: {brokers: '${KAFKA_BROKERS:localhost:9092}'}\n"
        "pipelines:\n  p: {from: t, handler: h}\n"
    )
    given = {"spec": spec, "env": [], "partitions": {"t": 1}, **values}

    assert [one["metadata"]["bootstrapServers"] for one in triggers(chart, "keda", given)] == [
        brokers
    ]


def test_pipelines_that_are_not_run_are_not_scaled_for(chart: Chart) -> None:
    found = triggers(chart, "keda", {"run.only": ["late"]})

    assert [one["metadata"]["topic"] for one in found] == ["payments"]


def test_keda_talks_to_the_brokers_as_the_worker_does(chart: Chart) -> None:
    rendered = chart.render("credentials")
    (trigger,) = triggers(chart, "credentials")
    authentication = rendered.one("TriggerAuthentication")

    assert trigger["metadata"]["sasl"] == "scram_sha512"
    assert trigger["metadata"]["tls"] == "enable"
    assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    targets = authentication["spec"]["secretTargetRef"]
    assert {(one["parameter"], one["name"], one["key"]) for one in targets} == {
        ("username", "kafka-credentials", "username"),
        ("password", "kafka-credentials", "password"),
        ("ca", "kafka-tls", "ca.crt"),
        ("cert", "kafka-tls", "tls.crt"),
        ("key", "kafka-tls", "tls.key"),
    }


def test_an_authentication_of_the_users_takes_the_place_of_that_of_the_chart(chart: Chart) -> None:
    reference = {"name": "ours", "kind": "ClusterTriggerAuthentication"}
    values = {"keda.authenticationRef": reference, "credentials.existingSecret": ""}

    rendered = chart.render("credentials", values)

    assert rendered.all("TriggerAuthentication") == []
    (trigger,) = rendered.one("ScaledObject")["spec"]["triggers"]
    assert trigger["authenticationRef"] == reference


@pytest.mark.parametrize(
    ("values", "most"),
    [
        ({}, 8),  # 12 and 3 partitions for two processes in each pod
        ({"run.processes": 1}, 15),
        ({"run.processes": 4}, 4),
        ({"run.only": ["late"]}, 4),
        ({"run.only": ["late"], "partitions": {"payments": 5}}, 3),
        (
            {"env": [{"name": "KAFKA_BROKERS", "value": "k:1"}, {"name": "REFUNDS", "value": "9"}]},
            11,
        ),
        ({"keda.maxReplicas": 5}, 5),
    ],
)
def test_there_are_never_more_pods_than_have_partitions_to_read(
    chart: Chart, values: dict[str, Any], most: int
) -> None:
    assert chart.render("keda", values).one("ScaledObject")["spec"]["maxReplicaCount"] == most


def test_triggers_of_the_users_take_the_place_of_those_from_the_spec(chart: Chart) -> None:
    """As they must where the chart does not see the spec."""
    own = [{"type": "kafka", "metadata": {"topic": "flights"}}]
    values = {
        "autoscaling.enabled": False,
        "keda": {"enabled": True, "maxReplicas": 4, "triggers": own},
    }

    assert triggers(chart, "existing", values) == own


def test_an_autoscaler_by_processor_has_the_same_ceiling(chart: Chart) -> None:
    spec = chart.render("autoscaling").one("HorizontalPodAutoscaler")["spec"]

    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert [one["resource"]["name"] for one in spec["metrics"]] == ["cpu", "memory"]


@pytest.mark.parametrize("case", ["autoscaling", "keda"])
def test_scaling_down_goes_slowly_since_each_step_is_a_rebalance(chart: Chart, case: str) -> None:
    rendered = chart.render(case)
    behavior = (
        rendered.one("HorizontalPodAutoscaler")["spec"]["behavior"]
        if case == "autoscaling"
        else rendered.one("ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"][
            "behavior"
        ]
    )

    down = behavior["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 300
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


@pytest.mark.parametrize(
    ("drain", "seconds"),
    [("25s", 45), ("2m", 140), ("500ms", 21), ("1.5m", 110), ("1h", 3620), ("${DRAIN:30s}", 50)],
)
def test_pods_have_longer_to_end_than_the_worker_to_drain(
    chart: Chart, drain: str, seconds: int
) -> None:
    spec = f"name: x\npipelines:\n  a: {{drain_timeout: 1s}}\n  b: {{drain_timeout: '{drain}'}}\n"

    pod = chart.render("default", {"spec": spec}).pod

    assert pod["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize(
    ("case", "seconds"),
    [("default", 45), ("statefulset", 110), ("existing", 90), ("everything", 50)],
)
def test_how_long_a_drain_takes_is_read_from_the_spec_or_told(
    chart: Chart, case: str, seconds: int
) -> None:
    assert chart.render(case).pod["terminationGracePeriodSeconds"] == seconds
