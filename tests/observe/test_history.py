from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.flow.health import Counts, PartitionState, PipelineState, Snapshot
from worker.flow.timing import Histogram
from worker.observe.history import COLUMNS, STEP, STEPS, History, growth, recording
from worker.ports import Clock

STARTED = 1_000_000.0
PIPELINE = PipelineState("delays", "g", "running", joined=True)


class Watch:
    """Looks at a worker once a second."""

    def __init__(self) -> None:
        self.history = History()
        self.now = 0.0

    def look(self, *pipelines: PipelineState, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.history.look(
                Snapshot("n", "v", STARTED, self.now, pipelines=pipelines), STARTED + self.now
            )
            self.now += 1.0

    @property
    def answer(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.history.json())
        return parsed

    def columns(self, name: str = "delays") -> Mapping[str, list[float | None]]:
        found: dict[str, list[float | None]] = self.answer["pipelines"][name]
        return found


@pytest.fixture
def watch() -> Watch:
    return Watch()


def having(**counts: Any) -> PipelineState:
    return replace(PIPELINE, counts=Counts(**counts))


def test_before_the_first_step_is_over_there_are_no_points(watch: Watch) -> None:
    watch.look(PIPELINE, seconds=5)

    assert watch.answer == {"version": 1, "step": 5.0, "end": 0.0, "points": 0, "pipelines": {}}


def test_a_point_has_the_rates_of_what_was_counted_in_its_step(watch: Watch) -> None:
    watch.look(having(received=100), seconds=5)
    watch.look(
        having(
            received=200,
            produced=50,
            handled=80,
            retried=5,
            moved=10,
            followed=5,
            rebalances=2,
            dead_lettered={"rejected": 3, "timeout": 2},
            skipped={"timeout": 10},
        )
    )

    assert watch.answer["end"] == STARTED + 5
    found = {name: values for name, values in watch.columns().items() if name != "latency"}
    assert found == {
        "received": [20.0],
        "produced": [10.0],
        "dead_lettered": [1.0],
        "skipped": [2.0],
        "retried": [2.0],
        "lag": [0.0],
        "in_flight": [0.0],
        "rebalances": [2.0],
    }


def test_in_flight_is_the_mean_over_the_step(watch: Watch) -> None:
    for in_flight in (10, 20, 30, 20, 20):
        watch.look(replace(PIPELINE, in_flight=in_flight))
    watch.look(PIPELINE)

    assert watch.columns()["in_flight"] == [20.0]


def old(*seconds: float) -> Histogram:
    histogram = Histogram()
    for one in seconds:
        histogram.note(one)
    return histogram


def test_latency_is_how_old_messages_were_on_average_that_became_durable_in_the_step(
    watch: Watch,
) -> None:
    watch.look(having(latency=old(100.0)), seconds=5)
    watch.look(having(latency=old(100.0, 2.0, 5.0)), seconds=5)
    watch.look(having(latency=old(4.0)))

    assert watch.columns()["latency"] == [3.5, 4.0]


def test_the_latency_of_nothing_finished_is_not_known(watch: Watch) -> None:
    watch.look(replace(PIPELINE, in_flight=10), seconds=6)

    assert watch.columns()["latency"] == [None]


def test_the_lag_of_a_point_is_that_at_its_end(watch: Watch) -> None:
    partition = PartitionState("flights", 0, 9, 8, None, 20, in_flight=1, paused=False)
    watch.look(PIPELINE, seconds=5)
    watch.look(replace(PIPELINE, partitions=(partition,)))

    assert watch.columns()["lag"] == [12.0]


def test_a_lag_that_is_not_known_is_no_point(watch: Watch) -> None:
    watch.look(replace(PIPELINE, joined=False), seconds=6)

    assert watch.columns()["lag"] == [None]


def test_a_counter_that_begins_anew_gives_no_negative_rate(watch: Watch) -> None:
    watch.look(having(received=1000), seconds=5)
    watch.look(having(received=10))

    assert watch.columns()["received"] == [2.0]
    assert growth(1000, 10) == 10


def test_a_pipeline_that_appears_has_no_rates_for_the_time_before(watch: Watch) -> None:
    watch.look(seconds=7)
    watch.look(PIPELINE, seconds=10)

    assert watch.answer["points"] == 3
    assert watch.columns()["received"] == [None, None, 0.0]


def test_while_there_are_no_pipelines_the_past_is_kept(watch: Watch) -> None:
    watch.look(PIPELINE, seconds=11)
    watch.look(seconds=5)

    assert watch.columns()["received"] == [0.0, 0.0, None]


def test_points_that_were_missed_are_not_known_and_the_others_keep_their_places(
    watch: Watch,
) -> None:
    watch.look(having(received=0), seconds=6)
    watch.now = 20.0
    watch.look(having(received=150))

    assert watch.answer["points"] == 4
    assert watch.columns()["received"] == [0.0, None, None, 10.0]


def test_a_long_sleep_of_the_machine_leaves_no_more_than_the_span(watch: Watch) -> None:
    watch.look(PIPELINE, seconds=6)
    watch.now = 1_000_000.0
    watch.look(PIPELINE)

    assert watch.answer["points"] == STEPS
    assert watch.columns()["received"] == [None] * (STEPS - 1) + [0.0]


def test_no_more_than_fifteen_minutes_are_kept(watch: Watch) -> None:
    watch.look(PIPELINE, seconds=2000)

    assert STEPS * STEP == 15 * 60
    assert [len(values) for values in watch.columns().values()] == [STEPS] * len(COLUMNS)


def test_fifty_pipelines_take_less_than_a_megabyte() -> None:
    """Partitions take nothing: their lag is added up before it is kept."""
    watch = Watch()
    partitions = tuple(
        PartitionState("flights", n, 9, 8, None, 20, in_flight=1, paused=False) for n in range(10)
    )
    pipelines = [replace(PIPELINE, name=f"p{n}", partitions=partitions) for n in range(50)]
    watch.look(*pipelines, seconds=6)

    tracemalloc.start()
    watch.look(*pipelines, seconds=2000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 1_000_000


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
    described = page.partition("## `/history`")[2].partition("\n## ")[0]

    assert set(COLUMNS) | {"version", "step", "end", "points", "pipelines"} <= set(
        re.findall(r"`([a-z_]+)`", described)
    )


def test_a_recording_looks_by_itself_and_survives_a_snapshot_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.observe.history.LOOK_EVERY", 0.001)
    moments: Iterator[float] = iter(range(0, 10**9, 5))

    def snapshot() -> Snapshot:
        now = next(moments)
        if now == 10:
            raise ValueError("not now")
        return Snapshot("n", "v", STARTED, now, pipelines=(PIPELINE,))

    with recording(snapshot, Clock()) as history:
        while json.loads(history.json())["points"] < 5:
            pass

    assert "the history has lost a point" in caplog.text


def test_the_answer_is_made_once_for_all_who_ask_until_there_is_another_point(
    watch: Watch,
) -> None:
    watch.look(PIPELINE, seconds=6)
    first = watch.history.json()
    assert watch.history.json() is first

    watch.look(PIPELINE, seconds=5)
    assert watch.answer["points"] == 2
