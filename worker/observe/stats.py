"""The snapshot as JSON: what `/stats` answers; docs/http.md describes every field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Final

import orjson

from worker.flow.failures import FailureGroup
from worker.flow.health import (
    Counts,
    Flow,
    Overrunning,
    PartitionState,
    PipelineState,
    ProcessState,
    Reason,
    Snapshot,
    judge,
    severity,
)
from worker.flow.timing import Histogram

VERSION: Final = 1
"""Raised when a field changes its meaning or goes; new fields may come at any time."""


def stats_json(snapshot: Snapshot) -> bytes:
    """The snapshot as one JSON object and a line feed."""
    document = {
        "version": VERSION,
        "name": snapshot.name,
        "worker": snapshot.version,
        "now": snapshot.time,
        **_state(snapshot),
    }
    if snapshot.processes:
        document["processes"] = [_process(one, snapshot.now) for one in snapshot.processes]
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _process(process: ProcessState, now: float) -> dict[str, Any]:
    state = {} if process.snapshot is None else _state(replace(process.snapshot, now=now))
    return {
        "process": process.index,
        "pid": process.pid,
        "restarts": process.restarts,
        "ended": process.ended,
        **state,
    }


def _state(snapshot: Snapshot) -> dict[str, Any]:
    health = judge(snapshot)
    return {
        "started": snapshot.started,
        "live": health.live,
        "ready": health.ready,
        "reasons": [reason.text for reason in health.reasons],
        "starting": snapshot.starting,
        "draining": snapshot.draining,
        "loop_blocked_for": round(snapshot.loop_blocked_for, 1),
        "pipelines": {
            pipeline.name: _pipeline(pipeline, snapshot.now, health.reasons)
            for pipeline in snapshot.pipelines
        },
    }


def _pipeline(pipeline: PipelineState, now: float, reasons: Iterable[Reason]) -> dict[str, Any]:
    own = [reason for reason in reasons if reason.pipeline == pipeline.name]
    return {
        "group": pipeline.group,
        "flow": _flow(pipeline.flow),
        "status": pipeline.status,
        "severity": severity(pipeline, own),
        "reasons": [reason.text.replace(f"{pipeline.name}: ", "", 1) for reason in own],
        "joined": pipeline.joined,
        "connected": pipeline.connected,
        "coordinated": pipeline.coordinated,
        "silent_for": _seconds(pipeline.silent_for),
        "joining_for": _seconds(pipeline.joining_for),
        "denied": pipeline.denied,
        "renewed": pipeline.renewed,
        "unmatched": pipeline.unmatched,
        "blocked": pipeline.blocked,
        "hindered": pipeline.hindered,
        "breaker_open": pipeline.breaker_open,
        "overrunning": [_overrunning(one) for one in pipeline.overrunning],
        "longest": None if pipeline.longest is None else _overrunning(pipeline.longest),
        "failed": pipeline.failed,
        "last_error": pipeline.last_error,
        "failures": [_failure(group) for group in pipeline.failures],
        "stepped_ago": round(max(0.0, now - pipeline.stepped), 3),
        "in_flight": pipeline.in_flight,
        "in_flight_bytes": pipeline.in_flight_bytes,
        "lag": pipeline.lag,
        "behind": _seconds(pipeline.behind),
        "received_rate": round(pipeline.received_rate, 1),
        "produced_rate": round(pipeline.produced_rate, 1),
        "counts": _counts(pipeline.counts),
        "time": {stage: round(seconds, 3) for stage, seconds in pipeline.counts.stages.items()},
        "partitions": [_partition(partition) for partition in pipeline.partitions],
        "clients": dict(pipeline.clients),
    }


def _counts(counts: Counts) -> dict[str, Any]:
    """Those that are numbers; what is measured in seconds is for /metrics."""
    found = {field.name: getattr(counts, field.name) for field in fields(counts)}
    return {
        name: number
        for name, number in found.items()
        if name != "stages" and not isinstance(number, Histogram)
    }


def _flow(flow: Flow) -> dict[str, Any]:
    return {
        "from": flow.sources,
        "handler": flow.handler,
        "to": flow.target,
        "dead_letter": flow.dead_letters,
        "retry": flow.retries,
        "delivery": flow.delivery,
    }


def _failure(group: FailureGroup) -> dict[str, Any]:
    return {
        "became": group.became,
        "reason": group.reason,
        "error": group.error,
        "text": group.text,
        "count": group.count,
        "topic": group.topic,
        "partition": group.partition,
        "offset": group.offset,
        "last": round(group.last, 3),
    }


def _overrunning(one: Overrunning) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "seconds": round(one.seconds, 1),
    }


def _partition(partition: PartitionState) -> dict[str, Any]:
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "position": partition.position,
        "committable": partition.committable,
        "committed": partition.committed,
        "end": partition.end,
        "lag": partition.lag,
        "behind": _seconds(partition.behind),
        "commit_age": _seconds(partition.commit_age),
        "in_flight": partition.in_flight,
        "paused": partition.paused,
        "paused_by": partition.paused_by,
        "waiting": partition.waiting,
        "ready": partition.ready,
        "at_work": partition.at_work,
        "held_by": partition.held_by,
        "at_hand": partition.at_hand,
        "at_hand_for": _seconds(partition.at_hand_for),
        "due_in": _seconds(partition.due_in),
        "fenced": partition.fenced,
        "flooded": partition.flooded,
        "starts": partition.starts,
        "suspect": partition.suspect,
        "progress": partition.progress,
        "uncommitted_for": _seconds(partition.uncommitted_for),
    }


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
