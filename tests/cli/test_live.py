from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from worker.cli.views.live import LINE_EVERY, LineView, TableView
from worker.flow.health import Counts, PartitionState, PipelineState, Snapshot

COUNTS = Counts(received=1234, produced=1000, filtered=200, dead_lettered={"rejected": 34})
RUNNING = PipelineState("delays", "g", "running", joined=True, received_rate=99.6, counts=COUNTS)
FAILED = PipelineState("alerts", "g", "failed", failed="a \x1b[2J pill")
SNAPSHOT = Snapshot("n", "v", 0.0, 0.0, pipelines=(RUNNING, FAILED))


def numbers(
    received: int, produced: int, filtered: int, dead: int, rate: int, lag: str = "0"
) -> str:
    return (
        f"in {received:,}, out {produced:,}, filtered {filtered}, dead letters {dead}, skipped 0, "
        f"msg/s {rate}, lag {lag}, waiting 0, in flight 0"
    )


def test_without_a_terminal_there_is_a_line_of_the_log_per_pipeline_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    now = [0.0]
    with LineView(lambda: 5000, lambda: now[0]) as view:
        view.show(SNAPSHOT)
        assert caplog.messages == []
        now[0] = LINE_EVERY
        view.show(SNAPSHOT)
        view.show(SNAPSHOT)

    assert caplog.messages == [
        f"delays: running, {numbers(1234, 1000, 200, 34, 100)}",
        f"alerts: failed: a \x1b[2J pill, {numbers(0, 0, 0, 0, 0, lag='-')}",
        "fed 5,000",
    ]


def test_what_waits_in_retry_topics_is_told_apart_from_other_lag(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    lags = {"orders": 4, "g.retry.0": 2, "g.retry.1": 1}
    partitions = tuple(
        PartitionState(topic, 0, 10, 10, None, 10 + lag, 0, paused=True)
        for topic, lag in lags.items()
    )
    waits = replace(SNAPSHOT, pipelines=(replace(RUNNING, partitions=partitions),))
    now = [0.0]

    with LineView(lambda: 0, lambda: now[0]) as view:
        now[0] = LINE_EVERY
        view.show(waits)

    assert "lag 7, waiting 3, in flight 0" in caplog.text


def test_on_a_terminal_the_table_has_every_pipeline_and_escapes_what_it_shows() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)

    with TableView(console, lambda: 5000) as view:
        view.show(SNAPSHOT)

    text = screen.getvalue()
    assert "1,234" in text
    assert "failed: a \\x1b[2J pill" in text
    assert "fed 5,000" in text


def test_in_a_narrow_terminal_no_figure_is_cut() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=40, color_system=None)

    with TableView(console, lambda: 5000) as view:
        view.show(SNAPSHOT)

    text = screen.getvalue()
    assert "  dead letters 34\n" in text.replace(" \n", "\n").replace("\r", "")
    assert "failed: a \\x1b[2J pill" in text
    assert "…" not in text
