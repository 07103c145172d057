"""Every metric as one row of a table: name, type, unit, labels, meaning, and where it comes from.

docs/metrics.md is made from the same table: `python -m worker.observe > docs/metrics.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from worker.flow.health import PAUSE_CAUSES, PipelineState, judge
from worker.flow.stuck import REPAIRS
from worker.observe.rows import (
    broker,
    by,
    by_reason,
    client,
    count,
    histogram,
    now,
    partition,
    worker,
)
from worker.types import ClientTotals


def _connected(totals: ClientTotals) -> int:
    return sum(state == "UP" for state in totals.brokers.values())


def _paused(pipeline: PipelineState) -> Mapping[str, int]:
    found = Counter(one.paused_by for one in pipeline.partitions)
    return {cause: found[cause] for cause in PAUSE_CAUSES}


TABLE: Final = (
    worker(
        "worker_start_time_seconds",
        "seconds",
        "When the worker was made, in seconds since 1970.",
        lambda snapshot: snapshot.started,
    ),
    worker(
        "worker_live",
        "0 or 1",
        "Whether the worker is live: 0 means that a restart would help.",
        lambda snapshot: judge(snapshot).live,
    ),
    worker(
        "worker_ready",
        "0 or 1",
        "Whether every pipeline is ready: what /readyz says.",
        lambda snapshot: judge(snapshot).ready,
    ),
    now(
        "worker_pipeline_running",
        "0 or 1",
        "Whether the pipeline is running, not starting, joining, draining, stopped or failed.",
        lambda pipeline: pipeline.status == "running",
    ),
    now(
        "worker_pipeline_joined",
        "0 or 1",
        "Whether the group has given this member its partitions, be they none.",
        lambda pipeline: pipeline.joined,
    ),
    now(
        "worker_pipeline_connected",
        "0 or 1",
        "Whether at least one broker is connected.",
        lambda pipeline: pipeline.connected,
    ),
    now(
        "worker_pipeline_blocked",
        "0 or 1",
        "Whether results or dead letters cannot be delivered at the moment.",
        lambda pipeline: pipeline.blocked is not None,
    ),
    now(
        "worker_breaker_open",
        "0 or 1",
        "Whether the pipeline waits for what its breaker stands for.",
        lambda pipeline: pipeline.breaker_open is not None,
    ),
    now(
        "worker_flooded_partitions",
        "partitions",
        "Partitions whose messages are tried one at a time, since too many fail.",
        lambda pipeline: sum(one.flooded for one in pipeline.partitions),
    ),
    now(
        "worker_fenced_lanes",
        "lanes",
        "Lanes whose messages go to a retry topic, since an earlier one of theirs is there.",
        lambda pipeline: sum(one.fenced for one in pipeline.partitions),
    ),
    now(
        "worker_pipeline_failed",
        "0 or 1",
        "Whether the pipeline has stopped for good.",
        lambda pipeline: pipeline.failed is not None,
    ),
    now(
        "worker_handlers_overrunning",
        "handlers",
        "Handlers that take longer than `timeout` and cannot be cancelled.",
        lambda pipeline: len(pipeline.overrunning),
    ),
    now(
        "worker_messages_in_flight",
        "messages",
        "Messages between poll and acknowledgement.",
        lambda pipeline: pipeline.in_flight,
    ),
    now(
        "worker_bytes_in_flight",
        "bytes",
        "Bytes of keys and payloads between poll and acknowledgement.",
        lambda pipeline: pipeline.in_flight_bytes,
    ),
    now(
        "worker_messages_waiting",
        "messages",
        "Messages that wait for a handler, or for an earlier one of their lane.",
        lambda pipeline: sum(one.waiting for one in pipeline.partitions),
    ),
    now(
        "worker_messages_ready",
        "messages",
        "Of these, those that could go to a handler at once.",
        lambda pipeline: sum(one.ready for one in pipeline.partitions),
    ),
    now(
        "worker_lanes_at_work",
        "lanes",
        "Lanes with messages that a handler has.",
        lambda pipeline: sum(one.at_work for one in pipeline.partitions),
    ),
    by(
        "worker_partitions_paused",
        "gauge",
        "partitions",
        "cause",
        "Paused partitions: the pipeline is `full`, the partition is `held`, nothing of it is due "
        "yet (`not_due`), or nothing is handled, since results cannot be delivered or the breaker "
        "is open (`blocked`).",
        _paused,
    ),
    count(
        "worker_messages_received_total",
        "messages",
        "Messages taken from the consumer, those that come again included.",
        lambda counts: counts.received,
    ),
    count(
        "worker_bytes_received_total",
        "bytes",
        "Bytes of keys and payloads taken from the consumer.",
        lambda counts: counts.received_bytes,
    ),
    count(
        "worker_messages_passed_over_total",
        "messages",
        "Messages taken again that an earlier owner of their partition had finished.",
        lambda counts: counts.passed_over,
    ),
    count(
        "worker_messages_handled_total",
        "messages",
        "Messages whose handler succeeded.",
        lambda counts: counts.handled,
    ),
    count(
        "worker_messages_filtered_total",
        "messages",
        "Handled messages without a result.",
        lambda counts: counts.filtered,
    ),
    count(
        "worker_records_produced_total",
        "records",
        "Results of finished messages, acknowledged by all in-sync replicas.",
        lambda counts: counts.produced,
    ),
    by_reason(
        "worker_messages_dead_lettered_total",
        "Messages whose dead letter was acknowledged by all in-sync replicas.",
        lambda counts: counts.dead_lettered,
    ),
    by_reason(
        "worker_messages_skipped_total",
        "Messages given up under `on_error: skip`.",
        lambda counts: counts.skipped,
    ),
    count(
        "worker_retries_total",
        "attempts",
        "Failed attempts after which a message was to be tried again in place.",
        lambda counts: counts.retried,
    ),
    count(
        "worker_messages_moved_total",
        "messages",
        "Messages moved to a retry topic, those included that follow others of their lane.",
        lambda counts: counts.moved,
    ),
    count(
        "worker_messages_followed_total",
        "messages",
        "Messages moved to a retry topic since an earlier one of their lane is there.",
        lambda counts: counts.followed,
    ),
    count(
        "worker_outcomes_dropped_total",
        "messages",
        "Outcomes that came after their partition had gone; their effects happen again elsewhere.",
        lambda counts: counts.dropped,
    ),
    count(
        "worker_delivery_failures_total",
        "records",
        "Records that could not be delivered.",
        lambda counts: counts.delivery_failures,
    ),
    count(
        "worker_rewinds_total",
        "rewinds",
        "Times that partitions were read again from the committable offset.",
        lambda counts: counts.rewinds,
    ),
    count(
        "worker_commits_total",
        "commits",
        "Commits of offsets.",
        lambda counts: counts.commits,
    ),
    count(
        "worker_commit_failures_total",
        "commits",
        "Commits of offsets that failed.",
        lambda counts: counts.commit_failures,
    ),
    count(
        "worker_rebalances_total",
        "rebalances",
        "Rebalances in which partitions of this worker came or went; giving all back and being "
        "assigned some is one.",
        lambda counts: counts.rebalances,
    ),
    histogram(
        "worker_rebalance_duration_seconds",
        "How long the pipeline stood still for a rebalance: to finish and commit what it gave "
        "back, and to look up what it took over. One that took everything counts when partitions "
        "are assigned again, or the worker leaves.",
        lambda counts: counts.rebalancing,
    ),
    count(
        "worker_transactions_committed_total",
        "transactions",
        "Transactions that were committed.",
        lambda counts: counts.transactions.count,
    ),
    count(
        "worker_transactions_aborted_total",
        "transactions",
        "Transactions that were given up.",
        lambda counts: counts.aborts,
    ),
    histogram(
        "worker_transaction_duration_seconds",
        "How long committed transactions were open.",
        lambda counts: counts.transactions,
    ),
    histogram(
        "worker_handler_duration_seconds",
        "How long messages were with their handler, decoded and encoded. The messages of a run or "
        "a batch have equal shares. Where many runs come back together a sample stands for all: so "
        "the count, too, is an estimate where they differ in size.",
        lambda counts: counts.handling,
    ),
    histogram(
        "worker_latency_seconds",
        "How old messages were, by their timestamps, when all that has come of them was durable: "
        "acknowledged by all in-sync replicas, or in a transaction that is committed. Each counts "
        "once, after retry topics with the time at which it was first written; those that became "
        "durable together count with the first, those of unknown age not at all.",
        lambda counts: counts.latency,
    ),
    by(
        "worker_loop_seconds_total",
        "counter",
        "seconds",
        "stage",
        "Where the time of the pipeline's loop goes: `poll`, `decode`, `handler` (waiting for "
        "handlers and encoding included), `produce` (waiting for room and acknowledgements "
        "included), `commit`, `waiting` for messages, `blocked` while results cannot be delivered "
        "or the breaker is open, and `other`. Decoding is measured of one run in sixteen; the "
        "others are taken to be like the last of these, and none to be decoded for longer.",
        lambda pipeline: pipeline.counts.stages,
    ),
    count(
        "worker_lost_offsets_total",
        "messages",
        "Messages that were gone from the log before they could be read.",
        lambda counts: counts.lost_offsets,
    ),
    by(
        "worker_repairs_total",
        "counter",
        "repairs",
        "repair",
        "What was done about partitions that had messages and did not get on: `seek`, `pause` (and "
        "resume), `assign` anew or `renew` the clients.",
        lambda pipeline: {one: pipeline.counts.repairs.get(one, 0) for one in REPAIRS},
    ),
    partition(
        "worker_partition_position",
        "offset",
        "The next message to be taken from the consumer.",
        lambda partition: partition.position,
    ),
    partition(
        "worker_partition_committable",
        "offset",
        "The next offset that is safe to commit.",
        lambda partition: partition.committable,
    ),
    partition(
        "worker_partition_committed",
        "offset",
        "The committed offset; absent when there is none.",
        lambda partition: partition.committed,
    ),
    partition(
        "worker_partition_end",
        "offset",
        "The end of the partition as the pipeline's `isolation` has it; absent when that is not "
        "known.",
        lambda partition: partition.end,
    ),
    partition(
        "worker_partition_lag",
        "messages",
        "Messages between the committable offset and the end; absent when that is not known.",
        lambda partition: partition.lag,
    ),
    partition(
        "worker_partition_lag_seconds",
        "seconds",
        "Age of the first message that is not finished, by timestamps and by when the log ended "
        "there; 0 where all are; absent when that is not known.",
        lambda partition: partition.behind,
    ),
    partition(
        "worker_partition_commit_age_seconds",
        "seconds",
        "Since when the committed offset has not moved; 0 while there is nothing behind it.",
        lambda partition: partition.commit_age,
    ),
    partition(
        "worker_partition_in_flight",
        "messages",
        "Messages of the partition between poll and acknowledgement.",
        lambda partition: partition.in_flight,
    ),
    partition(
        "worker_partition_paused",
        "0 or 1",
        "Whether the partition is paused: too much is in flight, or nothing in it is due yet.",
        lambda partition: partition.paused,
    ),
    partition(
        "worker_partition_held_by",
        "offset",
        "The message behind which too much waits, which a handler is at or which is the first "
        "unfinished one; absent while the partition is read on.",
        lambda partition: partition.held_by,
    ),
    client(
        "worker_consumer_requests_total",
        "counter",
        "requests",
        "Requests of the consumer's client to the brokers.",
        lambda totals: totals.requests,
    ),
    client(
        "worker_consumer_bytes_received_total",
        "counter",
        "bytes",
        "Bytes that the consumer's client has received from the brokers.",
        lambda totals: totals.bytes_received,
    ),
    client(
        "worker_consumer_queued_messages",
        "gauge",
        "messages",
        "Messages fetched by the consumer's client and not yet taken.",
        lambda totals: totals.queued,
    ),
    client(
        "worker_consumer_connected_brokers",
        "gauge",
        "brokers",
        "Brokers that the consumer's client is connected to.",
        _connected,
    ),
    client(
        "worker_producer_requests_total",
        "counter",
        "requests",
        "Requests of the producer's client to the brokers.",
        lambda totals: totals.requests,
    ),
    client(
        "worker_producer_bytes_sent_total",
        "counter",
        "bytes",
        "Bytes that the producer's client has sent to the brokers.",
        lambda totals: totals.bytes_sent,
    ),
    client(
        "worker_producer_queued_messages",
        "gauge",
        "messages",
        "Records that the producer's client has not yet delivered.",
        lambda totals: totals.queued,
    ),
    client(
        "worker_producer_connected_brokers",
        "gauge",
        "brokers",
        "Brokers that the producer's client is connected to.",
        _connected,
    ),
    broker(
        "worker_broker_requests_total",
        "counter",
        "requests",
        "Requests to a broker.",
        lambda totals: {one: traffic.requests for one, traffic in totals.traffic.items()},
    ),
    broker(
        "worker_broker_bytes_sent_total",
        "counter",
        "bytes",
        "Bytes sent to a broker.",
        lambda totals: {one: traffic.bytes_sent for one, traffic in totals.traffic.items()},
    ),
    broker(
        "worker_broker_bytes_received_total",
        "counter",
        "bytes",
        "Bytes received from a broker.",
        lambda totals: {one: traffic.bytes_received for one, traffic in totals.traffic.items()},
    ),
    broker(
        "worker_broker_connects_total",
        "counter",
        "connections",
        "Attempts to connect to a broker.",
        lambda totals: {one: traffic.connects for one, traffic in totals.traffic.items()},
    ),
    broker(
        "worker_broker_disconnects_total",
        "counter",
        "connections",
        "Connections to a broker that have ended.",
        lambda totals: {one: traffic.disconnects for one, traffic in totals.traffic.items()},
    ),
    broker(
        "worker_broker_round_trip_seconds",
        "gauge",
        "seconds",
        "How long an answer of a broker took on average lately; absent where none was asked for.",
        lambda totals: totals.round_trips,
    ),
    broker(
        "worker_broker_connected",
        "gauge",
        "0 or 1",
        "Whether a broker is connected.",
        lambda totals: {one: state == "UP" for one, state in totals.brokers.items()},
    ),
)
