"""Metrics in Prometheus' text format.

Written by hand, since a scrape of 500 partitions has some 6,000 samples: the labels of a partition
are made into text once for all its metrics.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from worker.flow.health import ProcessState, Snapshot
from worker.flow.timing import BOUNDS, Histogram
from worker.observe.metrics import TABLE
from worker.observe.rows import Row

NAMESPACE: Final = "worker"
EDGES: Final = (*map(repr, BOUNDS), "+Inf")

_IN_LABEL: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_IN_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def metrics_text(snapshot: Snapshot, more: Sequence[Row] = ()) -> bytes:
    """The snapshot as text, with the process' CPU, memory and files."""
    lines: list[str] = []
    known: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}
    for row in (*TABLE, *more):
        lines.append(f"# HELP {row.name} {row.meaning.translate(_IN_HELP)}\n")
        lines.append(f"# TYPE {row.name} {row.type}\n")
        name, names = row.name, row.labels
        for values, number in row.samples(snapshot):
            labels = known.get((names, values))
            if labels is None:
                labels = known[names, values] = _labels(names, values)
            if isinstance(number, Histogram):
                lines += _histogram(name, labels, number)
            elif labels:
                lines.append(f"{name}{{{labels}}} {float(number)!r}\n")
            else:
                lines.append(f"{name} {float(number)!r}\n")
    return "".join(lines).encode() + _of_system(snapshot)


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{value.translate(_IN_LABEL)}"' for name, value in pairs)


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    for edge, below in zip(EDGES, accumulate(histogram.buckets), strict=True):
        yield f'{name}_bucket{{{labels},le="{edge}"}} {float(below)!r}\n'
    yield f"{name}_count{{{labels}}} {float(histogram.count)!r}\n"
    yield f"{name}_sum{{{labels}}} {histogram.seconds!r}\n"


def _of_system(snapshot: Snapshot) -> bytes:
    registry = CollectorRegistry()
    if snapshot.processes:
        registry.register(_Processes(snapshot.processes))
    else:
        ProcessCollector(namespace=NAMESPACE, registry=registry)
    return generate_latest(registry)


class _Processes(Collector):
    """What the system knows of each process and of the supervisor, labelled with which it is."""

    def __init__(self, processes: Sequence[ProcessState]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        numbers = {str(process.index): process.pid for process in self._processes}
        families: dict[str, Metric] = {}
        for process, pid in {"supervisor": os.getpid(), **numbers}.items():
            for metric in () if pid is None else _of_process(pid):
                family = families.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    family.add_sample(sample.name, {"process": process}, sample.value)
        return iter(families.values())

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering does not collect."""
        return iter(())


def _of_process(pid: int) -> Iterable[Metric]:
    return ProcessCollector(namespace=NAMESPACE, pid=lambda: pid, registry=None).collect()
