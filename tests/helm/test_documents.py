"""Everything that the chart renders is valid, for both Helms and for all claimed Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from tests.helm.chart import CASES, CHART, NEWEST, OLDEST, Chart, Document, file_of

OPERATORS: Final = ("keda.sh", "monitoring.coreos.com")
"""Groups of objects that Kubernetes itself does not know."""

Planted = tuple[str, str, Any]
"""A mistake: the kind of its document, the path where it is written, and what."""


@cache
def models() -> dict[str, type[BaseModel]]:
    """Models of such objects, by their kinds; they take seconds to import."""
    keda = import_module("cloudcoil.models.keda.v1alpha1")
    prometheus = import_module("cloudcoil.models.prometheus_operator.v1")
    return {
        "ScaledObject": keda.ScaledObject,
        "TriggerAuthentication": keda.TriggerAuthentication,
        "PodMonitor": prometheus.PodMonitor,
        "ServiceMonitor": prometheus.ServiceMonitor,
        "PrometheusRule": prometheus.PrometheusRule,
    }


def is_of_operator(document: Document) -> bool:
    return document["apiVersion"].partition("/")[0] in OPERATORS


def check(document: Document, version: str = NEWEST) -> None:
    """Raise for what is wrong with a document, be it a key that does not exist."""
    if is_of_operator(document):
        models()[document["kind"]].model_validate(document, extra="forbid")
    else:
        kubernetes_validate.validate(document, version, strict=True)


def with_mistake(chart: Chart, planted: Planted) -> Document:
    """A document of some case with a mistake in it; it had none before."""
    kind, path, value = planted
    cases = ("autoscaling", "credentials", "monitoring", "servicemonitor")
    document = next(one for case in cases for one in chart.render(case).all(kind))
    check(document)
    wrong = deepcopy(document)
    *way, last = path.split(".")
    part: Any = wrong
    for step in way:
        part = part[int(step) if step.isdigit() else step]
    part[last] = value
    return wrong


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing_to_complain_about(chart: Chart, case: str, major: int) -> None:
    done = chart.helms[major].run("lint", "--strict", CHART, "--values", file_of(case))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_one_of_kubernetes(chart: Chart, case: str, version: str) -> None:
    for document in chart.render(case).documents:
        if not is_of_operator(document):
            check(document, version)


def test_every_object_for_an_operator_is_one_of_its_models(chart: Chart) -> None:
    """In one test: the models take seconds to import."""
    documents = [one for case in CASES for one in chart.render(case).documents]
    theirs = [document for document in documents if is_of_operator(document)]
    planted: Sequence[Planted] = (
        ("ScaledObject", "spec.minReplicas", 1),
        ("ScaledObject", "spec.triggers.0.metadata.lagThreshold", 10),
        ("TriggerAuthentication", "spec.secretTargetRef.0.keys", "x"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.portt", "http"),
        ("ServiceMonitor", "spec.endpoint", []),
        ("PrometheusRule", "spec.groups.0.rules.0.expression", "up"),
    )

    for document in theirs:
        check(document)
    for mistake in planted:
        with pytest.raises(ValidationError):
            check(with_mistake(chart, mistake))

    kinds = {document["kind"] for document in theirs}
    assert kinds == models().keys() == {kind for kind, _, _ in planted}


@pytest.mark.parametrize(
    "planted",
    [
        ("Deployment", "spec.template.spec.containers.0.portt", []),
        ("Deployment", "spec.replicas", "two"),
        ("PodDisruptionBudget", "spec.maxUnavailble", 1),
    ],
)
def test_a_mistake_in_an_object_of_kubernetes_is_found(chart: Chart, planted: Planted) -> None:
    wrong = with_mistake(chart, planted)

    with pytest.raises(kubernetes_validate.ValidationError):
        check(wrong)


@pytest.mark.parametrize("case", CASES)
def test_both_helms_render_the_same_and_each_time_again(chart: Chart, case: str) -> None:
    first, again, other = (chart.template(case, major=major).stdout for major in (4, 4, 3))

    assert first == again
    assert [*yaml.load_all(first, yaml.CSafeLoader)] == [*yaml.load_all(other, yaml.CSafeLoader)]


def test_all_kinds_that_the_chart_can_make_are_in_some_case(chart: Chart) -> None:
    made = {document["kind"] for case in CASES for document in chart.render(case).documents}
    written = {
        line.removeprefix("kind: ")
        for file in (CHART / "templates").rglob("*.yaml")
        for line in file.read_text().splitlines()
        if line.startswith("kind: ")
    }

    assert made == written


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_kubernetes_that_is_claimed_is_taken(chart: Chart, version: str) -> None:
    assert chart.template("default", None, "--kube-version", version).returncode == 0


def test_an_older_kubernetes_is_refused(chart: Chart) -> None:
    done = chart.template("default", None, "--kube-version", "1.28.9")

    assert done.returncode != 0
    assert "requires kubeVersion: >=1.29.0-0" in done.stderr
