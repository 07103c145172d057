from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from worker.flow.health import Counts, PartitionState, PipelineState, ProcessState, Snapshot
from worker.flow.timing import BOUNDS, Histogram
from worker.observe.exposition import metrics_text
from worker.observe.kafka_exporter import KAFKA_EXPORTER
from worker.observe.metrics import TABLE
from worker.observe.reference import metrics_page
from worker.types import BrokerTotals, ClientTotals

LABELS = (
    *("pipeline", "topic", "partition", "reason", "cause"),
    *("stage", "repair", "client", "broker"),
)
HANDLING = Histogram()
HANDLING.note(0.002, times=3)
HANDLING.note(1e9)
COUNTS = Counts(
    received=7, handled=4, dead_lettered={"rejected": 2, "timeout": 1}, handling=HANDLING
)
PARTITIONS = (
    PartitionState(
        "flights", 0, 9, 8, 5, 20, in_flight=1, paused=True, paused_by="held", behind=1.5
    ),
    PartitionState("flights", 1, 0, 0, None, None, in_flight=0, paused=False),
)
PIPELINE = PipelineState(
    "delays",
    "g",
    "running",
    joined=True,
    connected=True,
    stepped=100.0,
    counts=COUNTS,
    partitions=PARTITIONS,
    clients={
        "consumer": ClientTotals(
            requests=3,
            brokers={"a:1": "UP", "b:1": "DOWN"},
            round_trips={"a:1": 0.004, "b:1": None},
            traffic={"a:1": BrokerTotals(requests=3, connects=1)},
        )
    },
)


def samples(*pipelines: PipelineState) -> dict[tuple[str, tuple[str, ...]], float]:
    text = metrics_text(Snapshot("n", "v", 50.0, 100.0, pipelines=pipelines)).decode()
    return {
        (sample.name, tuple(sample.labels[n] for n in LABELS if n in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_numbers_of_the_snapshot_come_out_with_their_labels() -> None:
    found = samples(PIPELINE)

    assert found["worker_start_time_seconds", ()] == 50
    assert found["worker_ready", ()] == 1
    assert found["worker_messages_received_total", ("delays",)] == 7
    assert found["worker_messages_dead_lettered_total", ("delays", "rejected")] == 2
    assert found["worker_partition_lag", ("delays", "flights", "0")] == 12
    assert found["worker_partition_paused", ("delays", "flights", "0")] == 1
    assert found["worker_consumer_requests_total", ("delays",)] == 3
    assert found["worker_consumer_connected_brokers", ("delays",)] == 1
    assert found["worker_messages_skipped_total", ("delays", "timeout")] == 0
    assert found["worker_partition_lag_seconds", ("delays", "flights", "0")] == 1.5
    assert found["worker_partitions_paused", ("delays", "held")] == 1
    assert found["worker_partitions_paused", ("delays", "full")] == 0
    assert found["worker_loop_seconds_total", ("delays", "commit")] == 0
    assert found["worker_broker_connects_total", ("delays", "consumer", "a:1")] == 1
    assert found["worker_broker_round_trip_seconds", ("delays", "consumer", "a:1")] == 0.004
    assert found["worker_broker_connected", ("delays", "consumer", "b:1")] == 0


def test_a_histogram_comes_out_with_all_that_is_below_each_bound() -> None:
    text = metrics_text(Snapshot("n", "v", 50.0, 100.0, pipelines=(PIPELINE,))).decode()
    (family,) = [
        one
        for one in text_string_to_metric_families(text)
        if one.name == "worker_handler_duration_seconds"
    ]
    buckets = {one.labels["le"]: one.value for one in family.samples if "le" in one.labels}

    assert family.type == "histogram"
    assert [float(edge) for edge in buckets] == [*BOUNDS, float("inf")]
    assert (buckets["0.001"], buckets["0.0025"], buckets["+Inf"]) == (0, 3, 4)
    assert [one.value for one in family.samples if one.name.endswith(("_count", "_sum"))] == [
        4,
        HANDLING.seconds,
    ]


def test_what_is_not_known_is_absent() -> None:
    found = samples(PIPELINE)

    assert ("worker_partition_position", ("delays", "flights", "1")) in found
    assert ("worker_broker_round_trip_seconds", ("delays", "consumer", "b:1")) not in found
    for name in ("committed", "end", "lag", "lag_seconds"):
        assert (f"worker_partition_{name}", ("delays", "flights", "1")) not in found
    assert ("worker_producer_requests_total", ("delays",)) not in found


def test_names_of_users_cannot_break_the_format() -> None:
    name = 'a"b\\c\nworker_ready 7'

    found = samples(PipelineState(name, "g", "running"))

    assert found["worker_messages_in_flight", (name,)] == 0
    assert found["worker_ready", ()] == 0


def test_what_the_system_knows_of_several_processes_says_of_which() -> None:
    processes = (
        ProcessState(0, pid=os.getpid()),
        ProcessState(1),
        ProcessState(2, pid=os.getppid()),
    )
    text = metrics_text(Snapshot("n", "v", 50.0, 100.0, processes=processes)).decode()

    families = list(text_string_to_metric_families(text))
    found = [
        (sample.name, sample.labels["process"])
        for family in families
        for sample in family.samples
        if "_process_" in sample.name
    ]
    assert Counter(found) == Counter(set(found))
    running = {"supervisor", "0", "2"} if Path("/proc").exists() else set()
    assert {process for _, process in found} == running
    assert len(families) == len({family.name for family in families})


def test_every_name_begins_with_worker_and_every_label_is_a_known_one() -> None:
    text = metrics_text(Snapshot("n", "v", 50.0, 100.0, pipelines=(PIPELINE,))).decode()

    assert {name.split("_")[0] for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)} == {
        "worker"
    }
    labels = {label for row in TABLE for label in row.labels}
    assert labels == set(LABELS)


def test_counters_and_only_they_end_with_total() -> None:
    assert all(row.name.endswith("_total") == (row.type == "counter") for row in TABLE)


def test_every_row_is_answered_once() -> None:
    text = metrics_text(Snapshot("n", "v", 50.0, 100.0)).decode()
    documented = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)

    assert [name for name in documented if "_process_" not in name] == [row.name for row in TABLE]


def test_lag_comes_out_under_the_names_of_kafka_exporter_where_that_is_wanted() -> None:
    other = PipelineState("other", "h", "running", partitions=PARTITIONS[:1])
    snapshot = Snapshot("n", "v", 50.0, 100.0, pipelines=(PIPELINE, other))

    text = metrics_text(snapshot, KAFKA_EXPORTER).decode()

    lines = [line for line in text.splitlines() if line.startswith("kafka_")]
    assert lines == [
        'kafka_consumergroup_current_offset{consumergroup="g",topic="flights",partition="0"} 5.0',
        'kafka_consumergroup_current_offset{consumergroup="h",topic="flights",partition="0"} 5.0',
        'kafka_consumergroup_lag{consumergroup="g",topic="flights",partition="0"} 15.0',
        'kafka_consumergroup_lag{consumergroup="h",topic="flights",partition="0"} 15.0',
        'kafka_consumergroup_lag_sum{consumergroup="g",topic="flights"} 15.0',
        'kafka_consumergroup_lag_sum{consumergroup="h",topic="flights"} 15.0',
        'kafka_topic_partition_current_offset{topic="flights",partition="0"} 20.0',
    ]
    assert "kafka_" not in metrics_text(snapshot).decode()


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"

    assert page.read_text("utf-8") == metrics_page(), "python -m worker.observe > docs/metrics.md"
