"""The state of a worker while it runs: a table that renews itself, or now and then a line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from worker.cli.views.tables import laid_out
from worker.flow.health import PipelineState, Snapshot
from worker.observe.text import escaped

log = logging.getLogger(__name__)

LINE_EVERY: Final = 5.0
"""Seconds between two lines where there is no terminal."""

COLUMNS: Final = (
    "in",
    "out",
    "filtered",
    "dead letters",
    "skipped",
    "msg/s",
    "lag",
    "waiting",
    "in flight",
)


class View(Protocol):
    """Shows snapshots for as long as the `with` block lasts."""

    def show(self, snapshot: Snapshot) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def view(fed: Callable[[], int]) -> View:
    """The view for standard error; `fed` says how many records were fed so far."""
    console = Console(stderr=True)
    return TableView(console, fed) if console.is_terminal else LineView(fed)


class TableView:
    """A table on a terminal; the log's lines go above it."""

    def __init__(self, console: Console, fed: Callable[[], int]) -> None:
        self._console = console
        self._fed = fed
        self._live = Live(console=console, refresh_per_second=5)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Renew the table."""
        self._live.update(table(snapshot, self._fed(), self._console.width))


class LineView:
    """A line of the log per pipeline every five seconds."""

    def __init__(
        self, fed: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._fed = fed
        self._monotonic = monotonic
        self._due = monotonic() + LINE_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        """Print, when it is time to."""
        if self._monotonic() < self._due:
            return
        self._due = self._monotonic() + LINE_EVERY
        for pipeline in snapshot.pipelines:
            cells = zip(COLUMNS, _cells(pipeline), strict=True)
            numbers = ", ".join(f"{name} {value}" for name, value in cells)
            log.info("%s: %s, %s", pipeline.name, _status(pipeline), numbers)
        log.info("fed %s", f"{self._fed():,}")


def table(snapshot: Snapshot, fed: int, width: int) -> RenderableType:
    """The state of all pipelines."""
    rows: list[tuple[str | Text, ...]] = [
        (pipeline.name, Text(escaped(_status(pipeline)), style=_style(pipeline)), *_cells(pipeline))
        for pipeline in snapshot.pipelines
    ]
    names = ("pipeline", "status", *COLUMNS)
    return Group(laid_out(names, rows, width=width, texts=2), Text(f"fed {fed:,}", style="dim"))


def _style(pipeline: PipelineState) -> str:
    return "red" if pipeline.failed or pipeline.blocked else ""


def _status(pipeline: PipelineState) -> str:
    if pipeline.failed is not None:
        return f"failed: {pipeline.failed}"
    if pipeline.blocked is not None:
        return f"cannot deliver: {pipeline.blocked}"
    return pipeline.status


def _cells(pipeline: PipelineState) -> tuple[str, ...]:
    counts = pipeline.counts
    numbers = (
        counts.received,
        counts.produced,
        counts.filtered,
        sum(counts.dead_lettered.values()),
        sum(counts.skipped.values()),
        round(pipeline.received_rate),
        pipeline.lag,
        pipeline.waiting,
        pipeline.in_flight,
    )
    return tuple("-" if number is None else f"{number:,}" for number in numbers)
