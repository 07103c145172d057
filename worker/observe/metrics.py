"""Every metric as one row of a table: name, type, unit, labels, meaning, and where it comes from.

docs/metrics.md is made from the same table: `python -m worker.observe > docs/metrics.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.flow.health import Counts, PartitionState, PipelineState, Snapshot, judge
from worker.types import ClientTotals

Sample = tuple[tuple[str, ...], float]
"""The values of the labels, and the number."""
NAMESPACE: Final = "worker"
Samples = Callable[[Snapshot], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric; a counter's name ends with `_total`."""

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    labels: tuple[str, ...]
    meaning: str
    samples: Samples

    def family(self, snapshot: Snapshot) -> Metric:
        """The metric's samples at one moment."""
        make = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        family = make(self.name, self.meaning, labels=self.labels)
        for labels, value in self.samples(snapshot):
            family.add_metric(labels, value)
        return family


def metrics_text(snapshot: Snapshot) -> bytes:
    """The snapshot in Prometheus' text format, with the process' CPU, memory and files."""
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    if snapshot.processes:
        registry.register(_Processes(snapshot))
    else:
        ProcessCollector(namespace=NAMESPACE, registry=registry)
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return (row.family(self._snapshot) for row in TABLE)

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering does not collect."""
        return iter(())


class _Processes(_Collector):
    """What the system knows of each process and of the supervisor, labelled with which it is."""

    def collect(self) -> Iterator[Metric]:
        numbers = {str(process.index): process.pid for process in self._snapshot.processes}
        families: dict[str, Metric] = {}
        for process, pid in {"supervisor": os.getpid(), **numbers}.items():
            for metric in () if pid is None else _of_process(pid):
                family = families.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    family.add_sample(sample.name, {"process": process}, sample.value)
        return iter(families.values())


def _of_process(pid: int) -> Iterable[Metric]:
    return ProcessCollector(namespace=NAMESPACE, pid=lambda: pid, registry=None).collect()


def _worker(name: str, unit: str, meaning: str, value: Callable[[Snapshot], float]) -> Row:
    return Row(name, "gauge", unit, (), meaning, lambda snapshot: [((), value(snapshot))])


def _now(name: str, unit: str, meaning: str, value: Callable[[PipelineState], float]) -> Row:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        return (((pipeline.name,), value(pipeline)) for pipeline in snapshot.pipelines)

    return Row(name, "gauge", unit, ("pipeline",), meaning, samples)


def _count(name: str, unit: str, meaning: str, value: Callable[[Counts], int]) -> Row:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        return (((pipeline.name,), value(pipeline.counts)) for pipeline in snapshot.pipelines)

    return Row(name, "counter", unit, ("pipeline",), meaning, samples)


def _by_reason(name: str, meaning: str, value: Callable[[Counts], Mapping[str, int]]) -> Row:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            for reason, number in value(pipeline.counts).items():
                yield (pipeline.name, reason), number

    return Row(name, "counter", "messages", ("pipeline", "reason"), meaning, samples)


def _partition(
    name: str, unit: str, meaning: str, value: Callable[[PartitionState], float | None]
) -> Row:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            for partition in pipeline.partitions:
                number = value(partition)
                if number is not None:
                    labels = (pipeline.name, partition.topic, str(partition.partition))
                    yield labels, number

    return Row(name, "gauge", unit, ("pipeline", "topic", "partition"), meaning, samples)


def _client(
    name: str,
    type: Literal["counter", "gauge"],  # noqa: A002 - the word of the format
    unit: str,
    meaning: str,
    value: Callable[[ClientTotals], float],
) -> Row:
    client = name.split("_")[1]

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for pipeline in snapshot.pipelines:
            if client in pipeline.clients:
                yield (pipeline.name,), value(pipeline.clients[client])

    return Row(name, type, unit, ("pipeline",), meaning, samples)


def _connected(totals: ClientTotals) -> int:
    return sum(state == "UP" for state in totals.brokers.values())


TABLE: Final = (
    _worker(
        "worker_start_time_seconds",
        "seconds",
        "When the worker was made, in seconds since 1970.",
        lambda snapshot: snapshot.started,
    ),
    _worker(
        "worker_live",
        "0 or 1",
        "Whether the worker is live: 0 means that a restart would help.",
        lambda snapshot: judge(snapshot).live,
    ),
    _worker(
        "worker_ready",
        "0 or 1",
        "Whether every pipeline is ready: what /readyz says.",
        lambda snapshot: judge(snapshot).ready,
    ),
    _now(
        "worker_pipeline_running",
        "0 or 1",
        "Whether the pipeline is running, not starting, joining, draining, stopped or failed.",
        lambda pipeline: pipeline.status == "running",
    ),
    _now(
        "worker_pipeline_joined",
        "0 or 1",
        "Whether the group has given this member its partitions, be they none.",
        lambda pipeline: pipeline.joined,
    ),
    _now(
        "worker_pipeline_connected",
        "0 or 1",
        "Whether at least one broker is connected.",
        lambda pipeline: pipeline.connected,
    ),
    _now(
        "worker_pipeline_blocked",
        "0 or 1",
        "Whether results or dead letters cannot be delivered at the moment.",
        lambda pipeline: pipeline.blocked is not None,
    ),
    _now(
        "worker_breaker_open",
        "0 or 1",
        "Whether the pipeline waits for what its breaker stands for.",
        lambda pipeline: pipeline.breaker_open is not None,
    ),
    _now(
        "worker_flooded_partitions",
        "partitions",
        "Partitions whose messages are tried one at a time, since too many fail.",
        lambda pipeline: sum(one.flooded for one in pipeline.partitions),
    ),
    _now(
        "worker_fenced_lanes",
        "lanes",
        "Lanes whose messages go to a retry topic, since an earlier one of theirs is there.",
        lambda pipeline: sum(one.fenced for one in pipeline.partitions),
    ),
    _now(
        "worker_pipeline_failed",
        "0 or 1",
        "Whether the pipeline has stopped for good.",
        lambda pipeline: pipeline.failed is not None,
    ),
    _now(
        "worker_handlers_overrunning",
        "handlers",
        "Handlers that take longer than `timeout` and cannot be cancelled.",
        lambda pipeline: len(pipeline.overrunning),
    ),
    _now(
        "worker_messages_in_flight",
        "messages",
        "Messages between poll and acknowledgement.",
        lambda pipeline: pipeline.in_flight,
    ),
    _now(
        "worker_bytes_in_flight",
        "bytes",
        "Bytes of keys and payloads between poll and acknowledgement.",
        lambda pipeline: pipeline.in_flight_bytes,
    ),
    _count(
        "worker_messages_received_total",
        "messages",
        "Messages taken from the consumer, those that come again included.",
        lambda counts: counts.received,
    ),
    _count(
        "worker_bytes_received_total",
        "bytes",
        "Bytes of keys and payloads taken from the consumer.",
        lambda counts: counts.received_bytes,
    ),
    _count(
        "worker_messages_passed_over_total",
        "messages",
        "Messages taken again that an earlier owner of their partition had finished.",
        lambda counts: counts.passed_over,
    ),
    _count(
        "worker_messages_handled_total",
        "messages",
        "Messages whose handler succeeded.",
        lambda counts: counts.handled,
    ),
    _count(
        "worker_messages_filtered_total",
        "messages",
        "Handled messages without a result.",
        lambda counts: counts.filtered,
    ),
    _count(
        "worker_records_produced_total",
        "records",
        "Results acknowledged by all in-sync replicas.",
        lambda counts: counts.produced,
    ),
    _by_reason(
        "worker_messages_dead_lettered_total",
        "Messages whose dead letter was acknowledged by all in-sync replicas.",
        lambda counts: counts.dead_lettered,
    ),
    _by_reason(
        "worker_messages_skipped_total",
        "Messages given up under `on_error: skip`.",
        lambda counts: counts.skipped,
    ),
    _count(
        "worker_retries_total",
        "attempts",
        "Failed attempts after which a message was to be tried again in place.",
        lambda counts: counts.retried,
    ),
    _count(
        "worker_messages_moved_total",
        "messages",
        "Messages moved to a retry topic, those included that follow others of their lane.",
        lambda counts: counts.moved,
    ),
    _count(
        "worker_messages_followed_total",
        "messages",
        "Messages moved to a retry topic since an earlier one of their lane is there.",
        lambda counts: counts.followed,
    ),
    _count(
        "worker_outcomes_dropped_total",
        "messages",
        "Outcomes that came after their partition had gone; their effects happen again elsewhere.",
        lambda counts: counts.dropped,
    ),
    _count(
        "worker_delivery_failures_total",
        "records",
        "Records that could not be delivered.",
        lambda counts: counts.delivery_failures,
    ),
    _count(
        "worker_rewinds_total",
        "rewinds",
        "Times that partitions were read again from the committable offset.",
        lambda counts: counts.rewinds,
    ),
    _count(
        "worker_commits_total",
        "commits",
        "Commits of offsets.",
        lambda counts: counts.commits,
    ),
    _count(
        "worker_commit_failures_total",
        "commits",
        "Commits of offsets that failed.",
        lambda counts: counts.commit_failures,
    ),
    _count(
        "worker_rebalances_total",
        "rebalances",
        "Rebalances of the group.",
        lambda counts: counts.rebalances,
    ),
    _count(
        "worker_lost_offsets_total",
        "messages",
        "Messages that were gone from the log before they could be read.",
        lambda counts: counts.lost_offsets,
    ),
    _partition(
        "worker_partition_position",
        "offset",
        "The next message to be taken from the consumer.",
        lambda partition: partition.position,
    ),
    _partition(
        "worker_partition_committable",
        "offset",
        "The next offset that is safe to commit.",
        lambda partition: partition.committable,
    ),
    _partition(
        "worker_partition_committed",
        "offset",
        "The committed offset; absent when there is none.",
        lambda partition: partition.committed,
    ),
    _partition(
        "worker_partition_end",
        "offset",
        "The end of the partition; absent when it is not known.",
        lambda partition: partition.end,
    ),
    _partition(
        "worker_partition_lag",
        "messages",
        "Messages between the committable offset and the end; absent when that is not known.",
        lambda partition: partition.lag,
    ),
    _partition(
        "worker_partition_in_flight",
        "messages",
        "Messages of the partition between poll and acknowledgement.",
        lambda partition: partition.in_flight,
    ),
    _partition(
        "worker_partition_paused",
        "0 or 1",
        "Whether the partition is paused: too much is in flight, or nothing in it is due yet.",
        lambda partition: partition.paused,
    ),
    _partition(
        "worker_partition_held_by",
        "offset",
        "The message behind which too much waits; absent while the partition is read on.",
        lambda partition: partition.held_by,
    ),
    _client(
        "worker_consumer_requests_total",
        "counter",
        "requests",
        "Requests of the consumer's client to the brokers.",
        lambda totals: totals.requests,
    ),
    _client(
        "worker_consumer_bytes_received_total",
        "counter",
        "bytes",
        "Bytes that the consumer's client has received from the brokers.",
        lambda totals: totals.bytes_received,
    ),
    _client(
        "worker_consumer_queued_messages",
        "gauge",
        "messages",
        "Messages fetched by the consumer's client and not yet taken.",
        lambda totals: totals.queued,
    ),
    _client(
        "worker_consumer_connected_brokers",
        "gauge",
        "brokers",
        "Brokers that the consumer's client is connected to.",
        _connected,
    ),
    _client(
        "worker_producer_requests_total",
        "counter",
        "requests",
        "Requests of the producer's client to the brokers.",
        lambda totals: totals.requests,
    ),
    _client(
        "worker_producer_bytes_sent_total",
        "counter",
        "bytes",
        "Bytes that the producer's client has sent to the brokers.",
        lambda totals: totals.bytes_sent,
    ),
    _client(
        "worker_producer_queued_messages",
        "gauge",
        "messages",
        "Records that the producer's client has not yet delivered.",
        lambda totals: totals.queued,
    ),
    _client(
        "worker_producer_connected_brokers",
        "gauge",
        "brokers",
        "Brokers that the producer's client is connected to.",
        _connected,
    ),
)
