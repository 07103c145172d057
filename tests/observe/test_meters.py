"""Metrics over OpenTelemetry, and what a process does about them by its environment."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from tests.observe.test_metrics import PIPELINE
from tests.observe.test_provider import OTLP, told
from worker.errors import BadEnvironment
from worker.flow.health import Snapshot
from worker.observe.environment import exporter_names
from worker.observe.exporters import exporter_of
from worker.observe.meters import observe
from worker.observe.metrics import TABLE

SNAPSHOT = Snapshot("n", "v", 50.0, 100.0, pipelines=(PIPELINE,))


def observed() -> tuple[dict[str, tuple[str, str]], dict[tuple[str, frozenset[str]], float]]:
    """Type and unit of what was exported, and the numbers by the values of their attributes."""
    reader = InMemoryMetricReader()
    observe(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"), lambda: SNAPSHOT)
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    kinds = {one.name: (type(one.data).__name__, one.unit or "") for one in metrics}
    numbers: dict[tuple[str, frozenset[str]], float] = {}
    for one in metrics:
        for point in one.data.data_points:
            assert isinstance(point, NumberDataPoint)
            values = frozenset(str(value) for value in (point.attributes or {}).values())
            numbers[one.name, values] = point.value
    return kinds, numbers


def test_every_number_is_observed_with_its_attributes_and_unit() -> None:
    kinds, numbers = observed()

    assert numbers["worker_messages_received", frozenset({"delays"})] == 7
    assert numbers["worker_partition_lag", frozenset({"delays", "flights", "0"})] == 12
    assert numbers["worker_handler_duration_seconds_bucket", frozenset({"delays", "0.0025"})] == 3
    assert numbers["worker_handler_duration_seconds_count", frozenset({"delays"})] == 4
    assert kinds["worker_messages_received"] == ("Sum", "{messages}")
    assert kinds["worker_bytes_in_flight"] == ("Gauge", "By")
    assert kinds["worker_handler_duration_seconds_sum"] == ("Sum", "s")


def test_what_has_samples_is_exported_whole() -> None:
    kinds, _ = observed()
    expected = {row.name.removesuffix("_total") for row in TABLE if list(row.samples(SNAPSHOT))}
    parts = ("_bucket", "_count", "_sum")

    assert {name.removesuffix("_bucket") for name in kinds if not name.endswith(parts[1:])} == (
        expected
    )


WANTED = "from worker.observe.exporting import exporting\nimport sys\n"


@pytest.mark.parametrize(
    ("environ", "loaded"),
    [
        ({}, "False"),
        ({"OTEL_METRICS_EXPORTER": "none"}, "False"),
        ({**OTLP, "OTEL_METRICS_EXPORTER": "none"}, "False"),
        ({**OTLP, "OTEL_SDK_DISABLED": "true"}, "False"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "False"),
        ({"OTEL_METRICS_EXPORTER": "console"}, "True"),
        (OTLP, "True"),
    ],
)
def test_where_nobody_wants_metrics_nothing_of_the_sdk_is_loaded(
    environ: Mapping[str, str], loaded: str
) -> None:
    program = f"{WANTED}exporting('name')\nprint('opentelemetry.sdk.metrics' in sys.modules)"

    assert told(program, environ) == loaded


def test_what_is_left_is_exported_at_the_end_under_the_name_of_the_spec() -> None:
    program = (
        f"{WANTED}from worker.flow.health import Snapshot\n"
        "with exporting('flights')(lambda: Snapshot('n', 'v', 50.0, 100.0)):\n    pass"
    )

    text = told(program, {"OTEL_METRICS_EXPORTER": "console"})
    assert '"worker_start_time_seconds"' in text
    assert '"service.name": "flights"' in text


def test_exporters_of_metrics_are_chosen_apart_from_those_of_spans() -> None:
    environ = {"OTEL_TRACES_EXPORTER": "console"}

    assert exporter_names(environ, "metrics") == []
    assert exporter_names({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, "metrics") == [
        "otlp"
    ]


def test_an_exporter_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(BadEnvironment, match=r"OTEL_METRICS_EXPORTER names 'nosuch'; .*console"):
        exporter_of("nosuch", "metrics", {})
