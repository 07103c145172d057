"""The values, their schema, their table, and the files that the chart has from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, Chart
from tests.helm.reference import entries, readme
from worker.observe.monitoring import What, monitoring_text
from worker.version import __version__

RUN = "run: make docs"


def defaults() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return loaded


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return loaded


def keys(part: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of keys, down to those whose values are whatever Kubernetes takes."""
    for key, value in part.items():
        within = schema.get("properties", {}).get(key, {})
        if "properties" in within and value:
            yield from keys(value, within, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_the_table_of_values_is_current() -> None:
    assert (CHART / "README.md").read_text() == readme(), RUN


@pytest.mark.parametrize(
    ("what", "file"), [("alerts", "alerts.yaml"), ("dashboard", "dashboard.json")]
)
def test_alerts_and_dashboard_are_those_that_the_worker_prints(what: What, file: str) -> None:
    assert (CHART / "files" / file).read_text() == monitoring_text(what), RUN


def test_the_chart_is_for_the_worker_beside_it() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["appVersion"] == __version__


def test_every_value_is_in_the_table_and_in_the_schema() -> None:
    told = [entry.path for entry in entries()]
    known = keys(as_values(schema()), schema())

    assert told == list(keys(defaults(), schema()))
    assert {key for key in known if not key.startswith(tuple(told))} == {"global"}


def as_values(schema: dict[str, Any]) -> dict[str, Any]:
    """The keys of a schema in the form of values."""
    return {key: as_values(within) for key, within in schema.get("properties", {}).items()}


def test_every_object_of_ours_refuses_keys_that_it_does_not_have() -> None:
    def ours(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "properties" in part:
            yield part
            for within in part["properties"].values():
                yield from ours(within)

    found = list(ours(schema()))

    assert len(found) > 15
    assert all(part["additionalProperties"] is False for part in found)


def test_alerts_that_are_left_out_are_not_there_and_all_others_are(chart: Chart) -> None:
    rule = chart.render("monitoring").one("PrometheusRule")
    theirs = yaml.safe_load(monitoring_text("alerts"))["groups"]
    (group,) = theirs
    group["rules"] = [one for one in group["rules"] if one["alert"] != "WorkerBrokerSlow"]

    assert rule["spec"]["groups"] == theirs
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_dashboard_is_for_the_sidecar_of_grafana(chart: Chart) -> None:
    rendered = chart.render("monitoring")
    (found,) = (
        one for one in rendered.all("ConfigMap") if one["metadata"]["name"].endswith("dashboard")
    )

    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Kafka"}
    assert found["data"] == {"stream-worker.json": monitoring_text("dashboard")}
