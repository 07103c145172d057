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


def test_no_query_merges_pipelines_of_different_specs_that_have_one_name() -> None:
    groupings = [
        (where, set(labels.split(", ")))
        for where, query in queries()
        for labels in re.findall(r"\bby \(([^)]*)\)", query)
    ]

    assert len(groupings) >= 50
    assert [where for where, labels in groupings if not labels >= OF_SCRAPE] == []


def test_what_is_told_of_a_pipeline_says_of_which_spec_it_is() -> None:
    legends = [
        target["legendFormat"]
        for panel in json.loads(monitoring_text("dashboard"))["panels"]
        for target in panel.get("targets", ())
        if " by (" in target["expr"]
    ]
    summaries = [
        rule["annotations"]["summary"]
        for group in yaml.safe_load(monitoring_text("alerts"))["groups"]
        for rule in group["rules"]
        if " by (" in rule["expr"] or "pipeline" in rule["annotations"]["summary"]
    ]

    assert {one.startswith("{{namespace}} {{job}} ") for one in legends} == {True}
    assert {"{{ $labels.job }}" in one for one in summaries} == {True}


def test_every_query_of_the_dashboard_looks_at_what_its_variables_choose() -> None:
    dashboard = json.loads(monitoring_text("dashboard"))
    variables = {one["name"] for one in dashboard["templating"]["list"]} - {"datasource"}
    labels = {row.name: set(row.labels) for row in TABLE}
    assert variables == {*OF_SCRAPE, "pipeline"}

    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            for metric, chosen_by in named_in(target["expr"]).metrics.items():
                has = labels.get(metric.removesuffix("_bucket"), set()) | OF_SCRAPE
                assert chosen_by >= variables & has, f"{panel['title']}: {metric}"
            assert all(f'{one}=~"${one}"' in target["expr"] for one in OF_SCRAPE)


def test_the_variables_of_the_dashboard_are_labels_and_each_is_chosen_within_those_before() -> None:
    found = [
        re.fullmatch(r"label_values\((\w+)(?:\{(.*)\})?, (\w+)\)", one["query"]["query"])
        for one in json.loads(monitoring_text("dashboard"))["templating"]["list"]
        if one["type"] == "query"
    ]
    labels = {row.name: {*row.labels, *OF_SCRAPE} for row in TABLE}
    before: list[str] = []

    for one in found:
        assert one is not None
        metric, chosen_by, label = one.groups(default="")
        assert label in labels[metric]
        assert chosen_by == ", ".join(f'{name}=~"${name}"' for name in before)
        before.append(label)


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
