"""Lag under the names of danielqsj/kafka_exporter, for dashboards and scalers that know those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from worker.flow.health import PartitionState, PipelineState, Snapshot
from worker.observe.rows import Row, Sample

GROUP: Final = ("consumergroup", "topic", "partition")


def _of_groups(value: Callable[[PartitionState], int | None]) -> Callable[[Snapshot], list[Sample]]:
    return lambda snapshot: [
        ((pipeline.group, one.topic, str(one.partition)), number)
        for pipeline, one in _partitions(snapshot)
        if (number := value(one)) is not None
    ]


def _partitions(snapshot: Snapshot) -> Iterator[tuple[PipelineState, PartitionState]]:
    return ((pipeline, one) for pipeline in snapshot.pipelines for one in pipeline.partitions)


def _lag(partition: PartitionState) -> int | None:
    """Behind the committed offset, as there; `worker_partition_lag` is what is not finished."""
    if partition.end is None or partition.committed is None:
        return None
    return max(0, partition.end - partition.committed)


def _lags(snapshot: Snapshot) -> Iterable[Sample]:
    sums: Counter[tuple[str, str]] = Counter()
    for pipeline, one in _partitions(snapshot):
        sums[pipeline.group, one.topic] += _lag(one) or 0
    return sums.items()


def _ends(snapshot: Snapshot) -> Iterable[Sample]:
    """Each partition once, be it read by several pipelines."""
    ends = {
        (one.topic, str(one.partition)): one.end
        for _, one in _partitions(snapshot)
        if one.end is not None
    }
    return ends.items()


KAFKA_EXPORTER: Final = (
    Row(
        "kafka_consumergroup_current_offset",
        "gauge",
        "offset",
        GROUP,
        "The committed offset.",
        _of_groups(lambda partition: partition.committed),
    ),
    Row(
        "kafka_consumergroup_lag",
        "gauge",
        "messages",
        GROUP,
        "Messages between the committed offset and the end.",
        _of_groups(_lag),
    ),
    Row(
        "kafka_consumergroup_lag_sum",
        "gauge",
        "messages",
        ("consumergroup", "topic"),
        "The same of the assigned partitions of a topic.",
        _lags,
    ),
    Row(
        "kafka_topic_partition_current_offset",
        "gauge",
        "offset",
        ("topic", "partition"),
        "The end of the partition.",
        _ends,
    ),
)
"""What each worker tells of the partitions that it has: all workers together tell of all."""
