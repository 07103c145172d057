"""A worker's state in a terminal: what is wrong first, then figures, partitions and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from worker.cli.views.tables import laid_out
from worker.observe.text import escaped
from worker.operate.watching import (
    FailureStats,
    FlowStats,
    PartitionStats,
    Past,
    PipelineStats,
    Stats,
)

BARS: Final = "▁▂▃▄▅▆▇█"
SPARK: Final = 24
"""Characters of a plot of the last fifteen minutes."""
ROOM_FOR_PLOTS: Final = 110
"""Columns of a terminal in which plots have room."""
ROOM_FOR_FLOWS: Final = 140
EVERYTHING: Final = 1_000_000
NOT_READY: Final = 2
TROUBLE: Final = 3
"""Severities of `/stats` from which on a pipeline does not do its work, and something is wrong."""

Columns = Mapping[str, Sequence[float | None]]


def panel(
    stats: Stats,
    past: Past | None,
    width: int,
    height: int | None = None,
    away: str | None = None,
) -> RenderableType:
    """All that is to be seen; with a height the lists are cut so that it fits.

    Times are told by the worker's clock; `away` says that it does not answer any more.
    """
    rows = EVERYTHING if height is None else max(3, (height - 9 - len(stats.reasons)) // 3)
    pipelines = sorted(stats.pipelines.items(), key=lambda item: -item[1].severity)
    parts: list[RenderableType] = [_head(stats), *_notes(stats, away), Text("")]
    parts += _section(_pipelines(pipelines[:rows], past, width), len(pipelines), rows)
    held = _held(pipelines)
    if held:
        parts.append(Text("\nHeld partitions", style="bold"))
        parts += _section(_partitions(held, width, rows), len(held), rows)
    failures = sorted(
        ((name, one) for name, pipeline in pipelines for one in pipeline.failures),
        key=lambda item: -item[1].last,
    )
    if failures:
        parts.append(Text("\nErrors", style="bold"))
        parts += _section(_errors(failures, stats.now, width, rows), len(failures), rows)
    return Group(*parts)


def holding(pipeline: PipelineStats, partition: PartitionStats) -> str | None:
    """What holds a partition, if anything; the same as on the page."""
    late = next(
        (
            one
            for one in (*pipeline.overrunning, *filter(None, [pipeline.longest]))
            if (one.topic, one.partition) == (partition.topic, partition.partition)
        ),
        None,
    )
    found = (
        (partition.is_stuck, "has messages and stands: nothing has helped"),
        (partition.progress == "repaired", "has messages and stands: it is repaired"),
        (partition.flooded, "flooded: one message at a time, since too many fail"),
        (
            partition.suspect is not None,
            f"tries {partition.suspect} alone: it may have ended the worker",
        ),
        (
            late is not None,
            ""
            if late is None
            else f"the handler has been at {late.offset} for {duration(late.seconds)}",
        ),
        (partition.held_by is not None, f"held by {partition.held_by}, which is not finished"),
        (
            partition.starts > 1,
            f"tried one at a time, since {partition.starts} owners in a row have ended",
        ),
        (
            partition.due_in is not None,
            f"next one is due in {duration(partition.due_in or 0.0)}",
        ),
        (pipeline.breaker_open is not None, "the breaker is open"),
        (partition.fenced, f"{partition.fenced:,} lanes wait behind retries"),
        (
            partition.paused_by == "blocked",
            "paused: results or dead letters cannot be delivered",
        ),
        (partition.paused, "paused: enough is in flight"),
    )
    return next((text for holds, text in found if holds), None)


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _since(then: float, now: float | None) -> str:
    return "-" if now is None else duration(max(0.0, now - then))


def spark(values: Sequence[float | None], points: int = 180) -> str:
    """A plot in one line; each character is the mean of several points, a blank is not known."""
    padded = [*[None] * (points - len(values)), *values][-points:]
    size = points // SPARK or 1
    means = [_mean(padded[start : start + size]) for start in range(0, points, size)][-SPARK:]
    most = max((mean for mean in means if mean is not None), default=0.0) or 1.0
    return "".join(
        " " if mean is None else BARS[min(len(BARS) - 1, int(mean / most * len(BARS)))]
        for mean in means
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _head(stats: Stats) -> Text:
    state = "ready" if stats.ready else "not ready" if stats.live else "needs a restart"
    if stats.draining:
        state = "draining"
    return Text.assemble(
        (escaped(stats.name), "bold"),
        (f"  stream-worker {escaped(stats.worker)}  ", "dim"),
        (state, "green" if stats.ready else "bold red"),
        (f"  up {_since(stats.started, stats.now)}", "dim"),
    )


def _notes(stats: Stats, away: str | None) -> list[Text]:
    notes = stats.reasons if away is None else [away, *stats.reasons]
    return [Text(escaped(note), style="red") for note in notes]


def _section(table: RenderableType, found: int, rows: int) -> list[RenderableType]:
    more = [Text(f"and {found - rows:,} more", style="dim")] if found > rows else []
    return [table, *more]


def _pipelines(
    pipelines: Sequence[tuple[str, PipelineStats]], past: Past | None, width: int
) -> RenderableType:
    plots, flows = past is not None and width >= ROOM_FOR_PLOTS, width >= ROOM_FOR_FLOWS
    names = ["pipeline", "status", "in/s", "out/s", "lag", "in flight", "latency"]
    names += ["retried", "dead letters", "skipped"]
    if plots:
        names.insert(2, "in, last 15 min")
    if flows:
        names.insert(1, "flow")
    rows: list[tuple[str | Text, ...]] = []
    for name, pipeline in pipelines:
        columns = {} if past is None else past.pipelines.get(name, {})
        cells = _cells(name, pipeline, columns)
        if plots:
            cells.insert(2, Text(spark(columns.get("received", ())), style="blue"))
        if flows:
            cells.insert(1, Text(_flow(pipeline.flow), style="dim"))
        rows.append(tuple(cells))
    return laid_out(names, rows, width=width, texts=2 + plots + flows)


def _flow(flow: FlowStats) -> str:
    stages = (", ".join(flow.sources), flow.handler, flow.to)
    return escaped(" > ".join(stage for stage in stages if stage))


def _cells(name: str, pipeline: PipelineStats, columns: Columns) -> list[str | Text]:
    counts = pipeline.counts
    latency = next(reversed(columns.get("latency", ())), None)
    dead = sum(counts.dead_lettered.values())
    return [
        escaped(name),
        Text(escaped(_state(pipeline)), style="red" if pipeline.severity >= TROUBLE else ""),
        f"{pipeline.received_rate:,.0f}",
        f"{pipeline.produced_rate:,.0f}",
        "-" if pipeline.lag is None else f"{pipeline.lag:,}",
        f"{pipeline.in_flight:,}",
        "-" if latency is None else duration(latency),
        f"{counts.retried + counts.moved:,}",
        Text(f"{dead:,}", style="red" if dead else ""),
        f"{sum(counts.skipped.values()):,}",
    ]


def _state(pipeline: PipelineStats) -> str:
    is_well = pipeline.status != "running" or pipeline.severity < NOT_READY
    return pipeline.status if is_well else "not ready"


def _held(
    pipelines: Sequence[tuple[str, PipelineStats]],
) -> list[tuple[str, PartitionStats, str]]:
    """Held ones, those with the most lag first."""
    found = (
        (name, partition, holding(pipeline, partition))
        for name, pipeline in pipelines
        for partition in pipeline.partitions
    )
    held = [(name, partition, why) for name, partition, why in found if why is not None]
    return sorted(held, key=lambda one: -(one[1].lag or 0))


def _partitions(
    held: Sequence[tuple[str, PartitionStats, str]], width: int, rows: int
) -> RenderableType:
    names = ("partition", "pipeline", "what holds it", "position", "lag")
    found = [
        (
            escaped(f"{partition.topic}[{partition.partition}]"),
            escaped(name),
            escaped(why),
            f"{partition.position:,}",
            "-" if partition.lag is None else f"{partition.lag:,}",
        )
        for name, partition, why in held[:rows]
    ]
    return laid_out(names, found, width=width, texts=3)


def _errors(
    failures: Sequence[tuple[str, FailureStats]], now: float | None, width: int, rows: int
) -> RenderableType:
    names = ("error", "pipeline", "messages were", "last one at", "count", "ago")
    found = [
        (
            escaped(f"{one.error} ({one.reason})" if one.error else one.reason),
            escaped(name),
            escaped(one.became),
            escaped(f"{one.topic}[{one.partition}]@{one.offset}"),
            f"{one.count:,}",
            _since(one.last, now),
        )
        for name, one in failures[:rows]
    ]
    return laid_out(names, found, width=width, texts=4)
