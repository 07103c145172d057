"""Metrics over OpenTelemetry: the rows of the table as observable instruments."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from threading import Thread
from time import monotonic
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader

from worker.errors import BadEnvironment
from worker.flow.health import Snapshot
from worker.flow.timing import BOUNDS, Histogram
from worker.observe.exporters import exporters_of, resource_of
from worker.observe.metrics import TABLE
from worker.observe.rows import Row, Sample
from worker.version import __version__

log = logging.getLogger(__name__)

UNITS: Final = {"seconds": "s", "bytes": "By", "0 or 1": "", "offset": ""}
"""As UCUM has them; what is counted is said in braces."""
EDGES: Final = (*map(repr, BOUNDS), "+Inf")
FLUSH_WITHIN: Final = 5.0
"""Seconds for what has not been exported when the process ends."""
FRESH_FOR: Final = 0.5
"""Seconds for which one snapshot serves all instruments."""

Observe = Callable[[CallbackOptions], Iterable[Observation]]


class Meters:
    """Where the metrics of a worker go; raises `BadEnvironment`."""

    def __init__(self, name: str) -> None:
        known = metrics.get_meter_provider()
        self._known = known if isinstance(known, MeterProvider) else None
        self._name = name
        exporters = [] if self._known else exporters_of("metrics", os.environ)
        self._exporters: Sequence[MetricExporter] = exporters

    @property
    def wanted(self) -> bool:
        """Whether anybody takes metrics."""
        return self._known is not None or bool(self._exporters)

    @contextmanager
    def exporting(self, snapshot: Callable[[], Snapshot]) -> Iterator[None]:
        """Export until the `with` block ends, and then what is left.

        A provider that users have set up as the global one is used as it is. Raises
        `BadEnvironment`.
        """
        provider = self._known or self._provider()
        observe(provider.get_meter("stream-worker", __version__), snapshot)
        try:
            yield
        finally:
            end = provider.force_flush if self._known else provider.shutdown
            thread = Thread(target=end, name="flush-metrics", daemon=True)
            thread.start()
            thread.join(FLUSH_WITHIN)
            if thread.is_alive():
                log.warning("not all metrics were exported within %g s", FLUSH_WITHIN)

    def _provider(self) -> MeterProvider:
        try:
            readers = [PeriodicExportingMetricReader(exporter) for exporter in self._exporters]
        except ValueError as error:
            raise BadEnvironment(
                f"metrics cannot be exported as OTEL_* variables say: {error}"
            ) from error
        return MeterProvider(readers, resource_of(self._name), shutdown_on_exit=False)


def observe(meter: Meter, snapshot: Callable[[], Snapshot]) -> None:
    """Have a meter observe all metrics.

    There is no observable histogram, so a histogram has counters as Prometheus has them: `_bucket`
    with the attribute `le`, `_count` and `_sum`.
    """
    latest = _Latest(snapshot)
    for row in TABLE:
        unit = UNITS.get(row.unit, f"{{{row.unit}}}")
        name = row.name.removesuffix("_total")
        if row.type == "histogram":
            for suffix, one, values in _PARTS:
                meter.create_observable_counter(
                    name + suffix, [_callback(latest, row, values)], one, row.meaning
                )
        else:
            make = (
                meter.create_observable_counter
                if row.type == "counter"
                else meter.create_observable_gauge
            )
            make(name, [_callback(latest, row, _itself)], unit, row.meaning)


class _Latest:
    """A snapshot, taken anew where it is not fresh: all instruments are observed together."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._taken: Snapshot | None = None
        self._at = 0.0

    def get(self) -> Snapshot:
        if self._taken is None or monotonic() - self._at > FRESH_FOR:
            self._taken, self._at = self._snapshot(), monotonic()
        return self._taken


Values = Callable[[Sample], Iterable[tuple[dict[str, str], float]]]


def _callback(latest: _Latest, row: Row, values: Values) -> Observe:
    def observed(_options: CallbackOptions) -> Iterator[Observation]:
        for sample in row.samples(latest.get()):
            labels = dict(zip(row.labels, sample[0], strict=True))
            for more, number in values(sample):
                yield Observation(number, {**labels, **more})

    return observed


def _itself(sample: Sample) -> Iterator[tuple[dict[str, str], float]]:
    assert not isinstance(sample[1], Histogram)  # noqa: S101 - the row's type says so
    yield {}, float(sample[1])


def _buckets(sample: Sample) -> Iterator[tuple[dict[str, str], float]]:
    assert isinstance(sample[1], Histogram)  # noqa: S101 - the row's type says so
    for edge, below in zip(EDGES, accumulate(sample[1].buckets), strict=True):
        yield {"le": edge}, below


def _count(sample: Sample) -> Iterator[tuple[dict[str, str], float]]:
    assert isinstance(sample[1], Histogram)  # noqa: S101 - the row's type says so
    yield {}, sample[1].count


def _sum(sample: Sample) -> Iterator[tuple[dict[str, str], float]]:
    assert isinstance(sample[1], Histogram)  # noqa: S101 - the row's type says so
    yield {}, sample[1].seconds


_PARTS: Final[Sequence[tuple[str, str, Values]]] = (
    ("_bucket", "", _buckets),
    ("_count", "", _count),
    ("_sum", "s", _sum),
)
