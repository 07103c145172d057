"""The metrics of workers that run on a real Kafka."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.observe.promql import named_in
from tests.observe.test_monitoring import OF_SCRAPE, queries
from tests.otlp import Protocol, receiver
from tests.system.rig import Kafka, Spec, Worker, free_port, is_through, numbered, unique

pytestmark = pytest.mark.kafka


LATER = {"worker_partition_lag_seconds", "worker_broker_round_trip_seconds"}
"""What the clients do not know at once."""


def scraped(worker: Worker) -> dict[str, list[Mapping[str, str]]]:
    """The labels of the samples by name."""
    with urllib.request.urlopen(worker.address + "/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found: dict[str, list[Mapping[str, str]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_every_query_that_ships_finds_its_metrics_and_labels_at_a_running_worker(
    kafka: Kafka, tmp_path: Path, delivery: str
) -> None:
    letters = unique("dlq")
    spec = Spec(kafka, tmp_path, "need_file", {"dead_letter": letters, "delivery": delivery})
    spec.create_topics()
    kafka.create(letters)
    there, gone = json.dumps({"file": __file__}), json.dumps({"file": "nowhere"})
    kafka.produce(spec.source, [(None, one.encode(), -1) for one in [there, gone] * 10])

    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 20))
        worker.until(lambda: scraped(worker).keys() >= LATER)
        found = scraped(worker)

    for where, query in queries():
        named = named_in(query)
        for metric, chosen_by in named.metrics.items():
            assert metric in found, f"{where}: {metric}"
            labels = OF_SCRAPE.union(*found[metric])
            assert chosen_by | named.grouped_by <= labels, f"{where}: {metric} has {labels}"


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [({}, ("--processes", "2")), ({"pool": "process", "concurrency": 2}, ())],
    ids=["processes", "a pool of processes"],
)
def test_durations_of_several_processes_are_told_as_one(
    kafka: Kafka, tmp_path: Path, settings: Mapping[str, Any], arguments: tuple[str, ...]
) -> None:
    spec = Spec(kafka, tmp_path, "echo", settings)
    spec.create_topics()

    with spec.worker(*arguments) as worker:
        worker.until(lambda: len(partitions(worker)) == 4)
        kafka.produce(spec.source, numbered(40))
        worker.until(lambda: worker.count("handled") == worker.count("produced") == 40)
        assert worker.metric("worker_handler_duration_seconds_count") == 40
        assert worker.metric("worker_latency_seconds_count") == 40
        assert worker.metric("worker_handler_duration_seconds_sum") > 0


def test_the_lag_of_a_partition_that_is_paused_grows_with_its_log(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "hang", {"in_flight": {"messages": 4}})
    spec.create_topics()
    kafka.produce(spec.source, numbered(40))

    with spec.worker() as worker:
        worker.until(lambda: [one["paused"] for one in partitions(worker)] == [True] * 4)
        kafka.produce(spec.source, numbered(400))
        worker.until(lambda: sum(one["lag"] or 0 for one in partitions(worker)) == 440)
        assert {one["paused_by"] for one in partitions(worker)} <= {"full", "held"}
        before = worker.pipeline()["behind"]
        worker.until(lambda: worker.pipeline()["behind"] > before + 2)
        worker.kill()


def partitions(worker: Worker) -> list[dict[str, Any]]:
    return list(worker.pipeline().get("partitions", ()))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_metrics_go_to_a_receiver_of_otlp(kafka: Kafka, tmp_path: Path, protocol: Protocol) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()
    kafka.produce(spec.source, numbered(40))
    port = free_port()

    with receiver(protocol, tmp_path) as received:
        environ = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": received.address
            + ("/v1/metrics" if protocol == "http" else ""),
            "OTEL_EXPORTER_OTLP_PROTOCOL": received.protocol,
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        }
        with Worker(spec.written(server={"port": port}), port, environ) as worker:
            worker.until(lambda: is_through(kafka, spec, 40))
            assert worker.stop() == 0
        received.until(lambda: received.numbers)

    handled = [one for one in received.numbers if one["name"] == "worker_messages_handled"]
    assert [(one["number"], one["attributes"]) for one in handled] == [
        (40, {"pipeline": "pipeline"})
    ]
    assert {one["resource"]["service.name"] for one in handled} == {spec.name}
