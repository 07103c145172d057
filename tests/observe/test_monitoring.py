"""The dashboard and the alert rules, beside the table of metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.observe.promql import Named, named_in
from worker.observe.metrics import TABLE
from worker.observe.monitoring import monitoring_text

OF_SYSTEM = {"worker_process_cpu_seconds_total", "worker_process_resident_memory_bytes"}
"""Not in the table: the process has them from its system."""


OF_SCRAPE = {"namespace", "job"}
"""Labels that Prometheus gives a worker, by which those of one spec are told from others."""


def queries() -> Iterator[tuple[str, str]]:
    """Every query that ships, and where it is."""
    for panel in json.loads(monitoring_text("dashboard"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for group in yaml.safe_load(monitoring_text("alerts"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def alerts() -> list[str]:
    (group,) = yaml.safe_load(monitoring_text("alerts"))["groups"]
    return [rule["alert"] for rule in group["rules"]]


def test_the_tokenizer_finds_metrics_labels_and_groupings() -> None:
    found = named_in(
        'max by (a, b) (one{c=~"x{}y",d!="z"} > 1) and on (e) rate(two_total[5m]) > 0.5'
    )

    assert found == Named({"one": {"c", "d"}, "two_total": set()}, {"a", "b", "e"})
    with pytest.raises(ValueError, match="what is this"):
        named_in("one ; two")


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_every_query_names_metrics_and_labels_of_the_table(where: str, query: str) -> None:
    labels = {row.name: set(row.labels) for row in TABLE}
    for row in TABLE:
        if row.type == "histogram":
            labels[f"{row.name}_bucket"] = {*row.labels, "le"}
    named = named_in(query)

    assert named.metrics
    assert set(named.metrics) <= labels.keys() | OF_SYSTEM
    for metric, chosen_by in named.metrics.items():
        if metric in labels:
            assert chosen_by | named.grouped_by <= labels[metric] | OF_SCRAPE


def test_no_alert_merges_pipelines_of_different_specs_that_have_one_name() -> None:
    groupings = [
        (rule["alert"], set(labels.split(", ")))
        for group in yaml.safe_load(monitoring_text("alerts"))["groups"]
        for rule in group["rules"]
        for labels in re.findall(r"\bby \(([^)]*)\)", rule["expr"])
    ]

    assert len(groupings) >= 10
    assert [alert for alert, labels in groupings if not labels >= OF_SCRAPE] == []


def test_every_row_of_the_table_that_counts_is_of_a_type_that_the_query_treats_it_as() -> None:
    counters = {row.name for row in TABLE if row.type != "gauge"}

    for where, query in queries():
        for metric in re.findall(r"worker_[a-z_]+", query):
            grows = metric.removesuffix("_bucket") in counters or metric.endswith(
                "cpu_seconds_total"
            )
            within = rf"(rate|increase)\({metric}[{{\[]"
            assert bool(re.search(within, query)) is grows, f"{where}: {query}"


def test_panels_do_not_lie_on_each_other() -> None:
    panels = json.loads(monitoring_text("dashboard"))["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_of_every_alert_the_docs_say_what_to_do() -> None:
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")

    assert re.findall(r"^\| `(Worker\w+)`", page, re.MULTILINE) == alerts()
