from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.flow.failures import FailureGroup
from worker.flow.health import (
    Counts,
    Flow,
    Overrunning,
    PartitionState,
    PipelineState,
    ProcessState,
    Snapshot,
)
from worker.observe.stats import stats_json
from worker.types import ClientTotals

PIPELINE = PipelineState(
    "delays",
    "flights.delays",
    "running",
    joined=True,
    connected=True,
    stepped=99.5,
    received_rate=12.345,
    counts=Counts(received=7, dead_lettered={"rejected": 2}),
    partitions=(PartitionState("flights", 0, 9, 8, None, 20, in_flight=1, paused=False),),
    clients={"consumer": ClientTotals(requests=3, brokers={"localhost:9092": "UP"})},
    flow=Flow(("flights",), "delays", None, ("dlq",), ("flights.delays.retry.0",)),
    failures=(FailureGroup("skipped", "timeout", "", "", 2, "flights", 0, 7, last=1.5),),
)


def stats(*pipelines: PipelineState) -> dict[str, Any]:
    answer = stats_json(Snapshot("flights", "1.2.3", 50.0, 100.0, pipelines=pipelines))
    parsed: dict[str, Any] = json.loads(answer)
    return parsed


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_the_snapshot_comes_out_whole() -> None:
    found = stats(PIPELINE)

    assert found["version"] == 1
    assert (found["live"], found["ready"], found["reasons"]) == (True, True, [])
    delays = found["pipelines"]["delays"]
    assert (delays["group"], delays["status"], delays["lag"]) == ("flights.delays", "running", 12)
    assert (delays["received_rate"], delays["stepped_ago"]) == (12.3, 0.5)
    assert delays["counts"]["dead_lettered"] == {"rejected": 2}
    assert delays["clients"]["consumer"]["brokers"] == {"localhost:9092": "UP"}
    assert delays["partitions"] == [
        {
            "topic": "flights",
            "partition": 0,
            "position": 9,
            "committable": 8,
            "committed": None,
            "end": 20,
            "lag": 12,
            "behind": None,
            "commit_age": 0.0,
            "in_flight": 1,
            "paused": False,
            "paused_by": None,
            "waiting": 0,
            "ready": 0,
            "at_work": 0,
            "held_by": None,
            "at_hand": None,
            "at_hand_for": 0.0,
            "due_in": None,
            "fenced": 0,
            "flooded": False,
            "starts": 0,
            "suspect": None,
            "progress": "moves",
            "uncommitted_for": None,
        }
    ]


def test_where_messages_go_and_what_failed_of_them_is_told() -> None:
    delays = stats(PIPELINE)["pipelines"]["delays"]

    assert delays["flow"] == {
        "from": ["flights"],
        "handler": "delays",
        "to": None,
        "dead_letter": ["dlq"],
        "retry": ["flights.delays.retry.0"],
        "delivery": "at_least_once",
    }
    assert delays["failures"] == [
        {
            "became": "skipped",
            "reason": "timeout",
            "error": "",
            "text": "",
            "count": 2,
            "topic": "flights",
            "partition": 0,
            "offset": 7,
            "last": 1.5,
        }
    ]


def test_messages_whose_handlers_take_too_long_are_named() -> None:
    late = replace(PIPELINE, timeout=30.0, overrunning=(Overrunning("flights", 0, 8, 95.25),))

    assert stats(late)["pipelines"]["delays"]["overrunning"] == [
        {"topic": "flights", "partition": 0, "offset": 8, "seconds": 95.2}
    ]


def test_a_worker_that_waits_for_brokers_says_so() -> None:
    answer = json.loads(stats_json(Snapshot("n", "v", 0.0, 1.0, starting="no broker answered")))

    assert answer["starting"] == "no broker answered"
    assert answer["reasons"] == ["no broker answered"]
    assert answer["pipelines"] == {}


def several() -> dict[str, Any]:
    told = Snapshot("flights", "1.2.3", 50.0, 99.0, pipelines=(PIPELINE,))
    processes = (
        ProcessState(0, pid=17, restarts=2, snapshot=told),
        ProcessState(1, ended="ended with signal SIGKILL, starts again"),
    )
    parsed: dict[str, Any] = json.loads(
        stats_json(Snapshot("flights", "1.2.3", 1.0, 100.0, processes=processes))
    )
    return parsed


def test_of_several_processes_each_comes_out_with_its_own_state() -> None:
    answer = several()

    one, other = answer["processes"]
    assert (one["process"], one["pid"], one["restarts"], one["ended"]) == (0, 17, 2, None)
    assert (one["started"], one["ready"]) == (50.0, True)
    assert one["pipelines"]["delays"]["counts"]["received"] == 7
    assert one["pipelines"]["delays"]["stepped_ago"] == 0.5
    assert other == {
        "process": 1,
        "pid": None,
        "restarts": 0,
        "ended": "ended with signal SIGKILL, starts again",
    }
    assert answer["reasons"] == ["process 1: ended with signal SIGKILL, starts again"]


def test_a_single_process_has_no_list_of_processes() -> None:
    assert "processes" not in stats(PIPELINE)


@pytest.mark.parametrize("answer", [stats(PIPELINE), several()])
def test_every_field_is_documented(answer: dict[str, Any]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
    documented = set(re.findall(r"`([a-z_]+)`", page))

    assert set(keys(answer)) - {"delays", "rejected", "localhost:9092"} <= documented
