"""What holds for every document that the chart makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helm.chart import CASES, ROOT, Chart, Document, pods

LABELS = {
    "helm.sh/chart",
    *(
        f"app.kubernetes.io/{label}"
        for label in ("name", "instance", "version", "managed-by", "component", "part-of")
    ),
}
NEVER_CHANGES = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component")}
OF_USERS = {"my-text", "my-more"}
"""Objects of `extraManifests`."""


def selectors(document: Document) -> Iterator[dict[str, str]]:
    """What a document selects the worker's pods by."""
    spec = document.get("spec", {})
    match document["kind"]:
        case "Service":
            yield spec["selector"]
        case "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]
        case "ServiceMonitor":
            pass  # it selects Services
        case _ if "matchLabels" in spec.get("selector", {}):
            yield spec["selector"]["matchLabels"]


def references(pod: Document, kind: str, name: str) -> set[str]:
    """Names of the ConfigMaps or Secrets that are volumes of a pod."""
    return {volume[kind][name] for volume in pod["volumes"] if kind in volume}


@pytest.mark.parametrize("case", CASES)
def test_every_selector_finds_the_pods_by_labels_that_never_change(chart: Chart, case: str) -> None:
    rendered = chart.render(case)
    labels = rendered.workload["spec"]["template"]["metadata"]["labels"]
    found = [one for document in rendered.documents for one in selectors(document)]

    assert found
    for selector in found:
        assert selector.keys() == NEVER_CHANGES
        assert selector.items() <= labels.items()


def test_a_service_monitor_finds_one_service_and_no_other(chart: Chart) -> None:
    rendered = chart.render("servicemonitor")
    selector = rendered.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    services = [one["metadata"] for one in rendered.all("Service")]

    assert len(services) == 2
    (found,) = (one for one in services if selector.items() <= one["labels"].items())
    assert found["name"] == "my-stream-worker"


@pytest.mark.parametrize("case", CASES)
def test_pods_of_jobs_and_tests_are_not_taken_for_workers(chart: Chart, case: str) -> None:
    rendered = chart.render(case)
    (selector,) = selectors(rendered.workload)

    for document in rendered.all("Job", "Pod"):
        template = document["spec"].get("template", document)
        assert not selector.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_labelled(chart: Chart, case: str) -> None:
    for document in chart.render(case).documents:
        metadata = document["metadata"]
        if metadata["name"] not in OF_USERS:
            assert metadata["labels"].keys() >= LABELS, metadata["name"]
            assert metadata["namespace"] == "default"


@pytest.mark.parametrize("case", CASES)
def test_names_are_short_enough_however_long_a_release_is_called(chart: Chart, case: str) -> None:
    names = [
        document["metadata"]["name"] for document in chart.render(case, release="a" * 53).documents
    ]

    assert len(
        set(zip((d["kind"] for d in chart.render(case).documents), names, strict=True))
    ) == len(names)
    for name in names:
        assert len(name) <= 63
        assert not name.endswith("-")
    workload = chart.render(case, release="a" * 53).workload["metadata"]["name"]
    assert len(workload) <= 52  # with the revision behind it, it becomes a label


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_what_pod_security_calls_restricted(chart: Chart, case: str) -> None:
    of_users = {"wait", "proxy"}
    for pod in (pod for one in chart.render(case).documents for pod in pods(one)):
        assert pod["automountServiceAccountToken"] is False
        assert pod.keys().isdisjoint({"hostNetwork", "hostPID", "hostIPC"})
        assert not [one for one in pod.get("volumes", []) if "hostPath" in one]
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in pod["containers"]:
            if container["name"] not in of_users:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }


@pytest.mark.parametrize("case", CASES)
def test_nothing_in_a_pod_is_there_twice(chart: Chart, case: str) -> None:
    def unique(things: list[Any]) -> bool:
        return len(things) == len(set(things))

    for pod in (pod for one in chart.render(case).documents for pod in pods(one)):
        containers = [*pod["containers"], *pod.get("initContainers", ())]
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        claimed = {"state"} if case == "statefulset" else set()

        assert unique([volume["name"] for volume in pod.get("volumes", ())])
        assert unique([container["name"] for container in containers])
        assert unique([port["name"] for one in containers for port in one.get("ports", ())])
        for container in containers:
            assert unique([variable["name"] for variable in container.get("env", ())])
            mounts = container.get("volumeMounts", ())
            assert unique([mount["mountPath"] for mount in mounts])
            assert {mount["name"] for mount in mounts} <= volumes | claimed


@pytest.mark.parametrize("case", CASES)
def test_pods_are_asked_for_their_health_at_the_port_that_they_listen_on(
    chart: Chart, case: str
) -> None:
    container = chart.render(case).container
    (port,) = container["ports"]
    listening = container["args"][container["args"].index("--listen") + 1]

    assert port["name"] == "http"
    assert listening.endswith(f":{port['containerPort']}")
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        assert container[probe]["timeoutSeconds"] >= 3


@pytest.mark.parametrize("case", CASES)
def test_whatever_pods_mount_is_there_before_them(chart: Chart, case: str) -> None:
    rendered = chart.render(case)
    made = {
        kind: {one["metadata"]["name"]: one["metadata"] for one in rendered.all(kind)}
        for kind in ("ConfigMap", "Secret")
    }

    def hook(metadata: Document) -> str | None:
        return metadata.get("annotations", {}).get("helm.sh/hook")  # type: ignore[no-any-return]

    for document in rendered.all("Deployment", "StatefulSet", "Job"):
        (pod,) = pods(document)
        for kind, key in (("ConfigMap", "name"), ("Secret", "secretName")):
            field = kind[0].lower() + kind[1:]
            for name in references(pod, field, key):
                if name.startswith("my-stream-worker"):
                    assert hook(made[kind][name]) == hook(document["metadata"])


def test_a_pod_says_who_it_is_in_its_environment(chart: Chart) -> None:
    env = chart.render("default").env

    assert {
        name: one["valueFrom"]["fieldRef"]["fieldPath"]
        for name, one in env.items()
        if "valueFrom" in one
    } == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "NODE_NAME": "spec.nodeName",
    }
    assert "k8s.pod.name=$(POD_NAME)" in env["OTEL_RESOURCE_ATTRIBUTES"]["value"]
    assert list(env)[-1] == "OTEL_RESOURCE_ATTRIBUTES"  # what it refers to stands before it


def test_what_a_user_gives_takes_the_place_of_what_the_chart_has(chart: Chart) -> None:
    rendered = chart.render("everything")

    assert rendered.env["OTEL_RESOURCE_ATTRIBUTES"]["value"] == "k8s.pod.name=$(POD_NAME)"
    (tmp,) = (volume for volume in rendered.pod["volumes"] if volume["name"] == "tmp")
    assert tmp["emptyDir"] == {"sizeLimit": "1Gi"}
    assert "startupProbe" not in rendered.container
    (constraint,) = rendered.pod["topologySpreadConstraints"]
    assert constraint["labelSelector"] == {"matchLabels": {"team": "data"}}


@pytest.mark.parametrize(("values", "limit"), [({}, "1Gi"), ({"tmp.sizeLimit": "64Mi"}, "64Mi")])
def test_what_a_pod_can_write_is_limited(chart: Chart, values: dict[str, Any], limit: str) -> None:
    (tmp,) = (one for one in chart.render("default", values).pod["volumes"] if one["name"] == "tmp")

    assert tmp["emptyDir"] == {"sizeLimit": limit}


def test_pods_are_what_the_image_is_made_for(chart: Chart) -> None:
    """Its words are those of the last stage."""
    lines = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2].splitlines()
    image = {word: rest for word, _, rest in (line.partition(" ") for line in lines)}
    rendered = chart.render("handlers")
    security = rendered.pod["securityContext"]
    mounts = {one["name"]: one["mountPath"] for one in rendered.container["volumeMounts"]}

    assert image["ENTRYPOINT"] == '["worker"]'
    assert "command" not in rendered.container
    assert image["USER"] == f"{security['runAsUser']}:{security['runAsGroup']}"
    assert image["EXPOSE"] == str(rendered.container["ports"][0]["containerPort"])
    assert mounts["handlers"] == f"{image['WORKDIR']}/handlers"


def test_values_may_hold_templates_where_they_name_objects(chart: Chart) -> None:
    rendered = chart.render("everything")

    assert rendered.workload["metadata"]["annotations"]["example.com/release"] == "my"
    template = rendered.workload["spec"]["template"]
    assert template["metadata"]["annotations"]["example.com/name"] == "my"
    assert "my-more" in references(rendered.pod, "configMap", "name")
    (more,) = (one for one in rendered.all("ConfigMap") if one["metadata"]["name"] == "my-more")
    assert more["data"] == {"more.py": "# stream-worker"}
    assert rendered.pod["initContainers"][0]["image"] == "registry.example/wait:1"


@pytest.mark.parametrize(
    ("case", "field", "given"),
    [
        ("default", "strategy", {"type": "Recreate"}),
        ("statefulset", "updateStrategy", {"type": "OnDelete"}),
    ],
)
def test_pods_are_replaced_as_the_user_says_and_by_nothing_of_another_way(
    chart: Chart, case: str, field: str, given: Document
) -> None:
    """Helm merges what is given with what the chart has."""
    spec = chart.render(case, {f"workload.{field}": given}).workload["spec"]

    assert spec[field] == given


def test_a_roll_out_is_changed_in_one_of_its_numbers(chart: Chart) -> None:
    values = {"workload.strategy.rollingUpdate.maxSurge": 2}

    strategy = chart.render("default", values).workload["spec"]["strategy"]

    assert strategy["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}


def test_what_is_empty_in_a_file_of_values_is_as_if_it_were_not_there(chart: Chart) -> None:
    """A key whose lines are all comments is null."""
    keys = (
        "commonLabels commonAnnotations env envFrom extraVolumes extraVolumeMounts podLabels "
        "podAnnotations lifecycle run.extraArgs run.only"
    )

    empty = chart.render("default", dict.fromkeys(keys.split()))

    assert empty.documents == chart.render("default").documents


def test_an_image_is_named_by_its_digest_or_its_tag(chart: Chart) -> None:
    digest = "sha256:" + "0123456789abcdef" * 4

    assert (
        chart.render("everything").container["image"] == f"registry.example/data/flights@{digest}"
    )
    assert chart.render("default").container["image"] == "stream-worker:0.1.0"
    tagged = chart.render("default", {"image.tag": "2.0"})
    assert tagged.container["image"] == "stream-worker:2.0"


@pytest.mark.parametrize(
    ("case", "revision"),
    [("default", "pod-template-hash"), ("statefulset", "controller-revision-hash")],
)
def test_pods_of_a_revision_are_spread_over_zones_and_nodes(
    chart: Chart, case: str, revision: str
) -> None:
    rendered = chart.render(case)
    zone, host = rendered.pod["topologySpreadConstraints"]

    assert (zone["topologyKey"], host["topologyKey"]) == (
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    )
    for one in (zone, host):
        assert one["labelSelector"] == rendered.workload["spec"]["selector"]
        assert one["matchLabelKeys"] == [revision]
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"


def test_members_of_a_stateful_set_start_together_and_have_names(chart: Chart) -> None:
    rendered = chart.render("statefulset")
    spec = rendered.workload["spec"]
    (headless,) = (one for one in rendered.all("Service") if one["spec"].get("clusterIP") == "None")

    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["serviceName"] == headless["metadata"]["name"]
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["state"]


def test_a_network_policy_lets_the_worker_reach_its_brokers_and_monitoring_reach_it(
    chart: Chart,
) -> None:
    spec = chart.render("credentials").one("NetworkPolicy")["spec"]
    ports = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    (rule,) = spec["ingress"]

    assert ports == {53, 9093, 4317, 4318}
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert [next(iter(peer)) for peer in rule["from"]] == ["namespaceSelector", "podSelector"]


def test_nobody_reaches_the_worker_unless_a_network_policy_says_so(chart: Chart) -> None:
    values = {"networkPolicy.from": [], "test.enabled": False}

    assert chart.render("credentials", values).one("NetworkPolicy")["spec"]["ingress"] == []
