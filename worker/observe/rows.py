"""A row of the table of metrics, and the kinds of rows that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from worker.flow.deadletter import REASONS
from worker.flow.health import Counts, PartitionState, PipelineState, Snapshot
from worker.flow.timing import Histogram
from worker.types import ClientTotals

Type = Literal["counter", "gauge", "histogram"]
Sample = tuple[tuple[str, ...], float | Histogram]
"""The values of the labels, and the number; of a histogram all its numbers."""
Samples = Callable[[Snapshot], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric; a counter's name ends with `_total`."""

    name: str
    type: Type
    unit: str
    labels: tuple[str, ...]
    meaning: str
    samples: Samples


def worker(name: str, unit: str, meaning: str, value: Callable[[Snapshot], float]) -> Row:
    """A number of the whole worker as of now."""
    return Row(name, "gauge", unit, (), meaning, lambda snapshot: [((), value(snapshot))])


def now(name: str, unit: str, meaning: str, value: Callable[[PipelineState], float]) -> Row:
    """A number of each pipeline as of now."""
    return _of_pipelines(name, "gauge", unit, meaning, value)


def count(name: str, unit: str, meaning: str, value: Callable[[Counts], int]) -> Row:
    """A number of each pipeline that only grows."""
    return _of_pipelines(name, "counter", unit, meaning, lambda pipeline: value(pipeline.counts))


def histogram(name: str, meaning: str, value: Callable[[Counts], Histogram]) -> Row:
    """Durations in each pipeline."""
    return _of_pipelines(
        name, "histogram", "seconds", meaning, lambda pipeline: value(pipeline.counts)
    )


def by(
    name: str,
    type: Type,  # noqa: A002 - the word of the format
    unit: str,
    label: str,
    meaning: str,
    values: Callable[[PipelineState], Mapping[str, float]],
) -> Row:
    """Numbers of each pipeline, told apart by one more label."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            for one, number in values(pipeline).items():
                yield (pipeline.name, one), number

    return Row(name, type, unit, ("pipeline", label), meaning, samples)


def by_reason(name: str, meaning: str, values: Callable[[Counts], Mapping[str, int]]) -> Row:
    """Counts of messages in each pipeline by reason, of all reasons that there can be.

    Of a counter that appears with 1 Prometheus does not know that it was 0.
    """

    def counted(pipeline: PipelineState) -> Mapping[str, int]:
        return {**dict.fromkeys(sorted(REASONS), 0), **values(pipeline.counts)}

    return by(name, "counter", "messages", "reason", meaning, counted)


def partition(
    name: str, unit: str, meaning: str, value: Callable[[PartitionState], float | None]
) -> Row:
    """A number of each assigned partition as of now; None is left out."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            for one in pipeline.partitions:
                number = value(one)
                if number is not None:
                    yield (pipeline.name, one.topic, str(one.partition)), number

    return Row(name, "gauge", unit, ("pipeline", "topic", "partition"), meaning, samples)


def client(
    name: str,
    type: Type,  # noqa: A002 - the word of the format
    unit: str,
    meaning: str,
    value: Callable[[ClientTotals], float],
) -> Row:
    """A number of each pipeline's consumer or producer, whichever the name says."""
    of = name.split("_")[1]

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            if of in pipeline.clients:
                yield (pipeline.name,), value(pipeline.clients[of])

    return Row(name, type, unit, ("pipeline",), meaning, samples)


def broker(
    name: str,
    type: Type,  # noqa: A002 - the word of the format
    unit: str,
    meaning: str,
    values: Callable[[ClientTotals], Mapping[str, float | None]],
) -> Row:
    """A number of each broker as the clients of each pipeline see it; None is left out."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            for of, totals in pipeline.clients.items():
                for address, number in values(totals).items():
                    if number is not None:
                        yield (pipeline.name, of, address), number

    return Row(name, type, unit, ("pipeline", "client", "broker"), meaning, samples)


def _of_pipelines(
    name: str,
    type: Type,  # noqa: A002 - the word of the format
    unit: str,
    meaning: str,
    value: Callable[[PipelineState], float | Histogram],
) -> Row:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        return (((pipeline.name,), value(pipeline)) for pipeline in snapshot.pipelines)

    return Row(name, type, unit, ("pipeline",), meaning, samples)
