"""The judgement of the worker's state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from worker.flow.health import (
    BLOCKED_AFTER,
    HANGS_AFTER,
    HELD_UP_AFTER,
    SILENT_AFTER,
    SLOW_AFTER,
    STALLED_AFTER,
    Health,
    Overrunning,
    PartitionState,
    PipelineState,
    ProcessState,
    Reason,
    Snapshot,
    judge,
    severity,
)


def texts(health: Health) -> tuple[str, ...]:
    return tuple(reason.text for reason in health.reasons)


def snapshot(*pipelines: PipelineState, now: float = 0.0, broken: str | None = None) -> Snapshot:
    return Snapshot("name", "1", 0.0, now, broken=broken, pipelines=pipelines)


def test_a_worker_that_brokers_do_not_let_in_is_denied_and_else_it_starts() -> None:
    waits = replace(snapshot(), starting="wrong password")

    assert judge(replace(waits, shut_out=True)).reasons == (Reason("denied", "wrong password"),)
    assert judge(waits).reasons == (Reason("starting", "wrong password"),)


def test_a_pipeline_that_makes_no_step_is_not_live() -> None:
    pipeline = PipelineState("pipeline", "group", "running", joined=True, connected=True)

    fresh = judge(snapshot(pipeline, now=HELD_UP_AFTER))
    held_up = judge(snapshot(pipeline, now=STALLED_AFTER))
    stalled = judge(snapshot(pipeline, now=STALLED_AFTER + 1))

    assert (fresh.live, fresh.ready) == (True, True)
    assert (held_up.live, [reason.code for reason in held_up.reasons]) == (True, ["held_up"])
    assert stalled.live is False
    assert texts(stalled)[0] == "pipeline: no step for 61 s"


def test_a_pipeline_whose_topics_are_gone_is_live_but_not_ready() -> None:
    pipeline = PipelineState(
        "pipeline", "group", "running", joined=True, connected=True, missing=("flights",)
    )

    health = judge(snapshot(pipeline))

    assert (health.live, health.ready) == (True, False)
    assert texts(health) == ("pipeline: topics to read do not exist: flights",)


def test_what_only_a_restart_helps_against_is_not_live() -> None:
    health = judge(snapshot(broken="the asyncio loop has ended"))

    assert (health.live, health.ready) == (False, False)
    assert texts(health) == ("the asyncio loop has ended",)


def test_a_rebalance_may_take_as_long_as_it_was_allowed_to() -> None:
    pipeline = PipelineState(
        "pipeline", "group", "running", joined=True, connected=True, patience=180.0
    )

    assert judge(snapshot(pipeline, now=180.0)).live
    assert not judge(snapshot(pipeline, now=181.0)).live


GOOD = PipelineState("pipeline", "group", "running", joined=True, connected=True)


def test_a_handler_that_takes_too_long_is_named_and_a_restart_would_not_help() -> None:
    late = (Overrunning("orders", 3, 1234, 95.2), Overrunning("orders", 0, 1, 40.0))

    health = judge(snapshot(replace(GOOD, timeout=30.0, overrunning=late)))

    assert (health.live, health.ready) == (True, False)
    assert texts(health) == (
        "pipeline: its handler has been at orders[3]@1234 for 95 s, longer than timeout: 30s",
    )


def test_a_handler_that_hangs_for_long_beyond_its_timeout_is_a_reason_to_restart() -> None:
    def judged(seconds: float) -> Health:
        late = (Overrunning("orders", 3, 7, seconds),)
        return judge(snapshot(replace(GOOD, timeout=30.0, overrunning=late)))

    assert judged(30.0 + HANGS_AFTER).live
    assert judged(31.0 + HANGS_AFTER).hopeless == (
        Reason(
            "handler_hangs",
            "pipeline: its handler has been at orders[3]@7 for 331 s",
            "pipeline",
        ),
    )


def test_a_loop_that_a_handler_keeps_is_told_and_at_last_a_reason_to_restart() -> None:
    def judged(seconds: float) -> Health:
        return judge(replace(snapshot(GOOD), loop_blocked_for=seconds))

    assert judged(BLOCKED_AFTER).ready
    assert judged(HANGS_AFTER).live
    assert [reason.code for reason in judged(HANGS_AFTER).reasons] == ["loop_blocked"]
    assert [reason.code for reason in judged(HANGS_AFTER + 1).hopeless] == ["loop_blocked"]


def test_lag_is_not_known_of_a_pipeline_that_has_no_partitions_since_it_is_in_no_group() -> None:
    behind = replace(GOOD, partitions=(AT_20,))
    unknown = replace(AT_20, partition=4, end=None)

    assert (GOOD.lag, behind.lag) == (0, 12)
    assert replace(GOOD, joined=False).lag is None
    assert replace(behind, partitions=(AT_20, unknown)).lag is None


def test_rates_that_were_measured_long_ago_are_none_of_now() -> None:
    busy = replace(GOOD, received_rate=5.0, produced_rate=4.0)

    fresh, old = busy.as_of(HELD_UP_AFTER), busy.as_of(HELD_UP_AFTER + 1)

    assert (fresh.received_rate, fresh.produced_rate) == (5.0, 4.0)
    assert (old.received_rate, old.produced_rate) == (0.0, 0.0)


def test_where_logs_end_is_not_known_of_a_pipeline_that_is_held_up() -> None:
    read = replace(GOOD, partitions=(replace(AT_20, end=20, committable=20, behind=0.0),))

    fresh, old = read.as_of(HELD_UP_AFTER), read.as_of(HELD_UP_AFTER + 1)

    assert (fresh.lag, fresh.behind) == (0, 0.0)
    assert (old.lag, old.behind) == (None, None)


def test_no_connection_is_told_of_while_a_pipeline_is_held_up_and_no_broker_answers() -> None:
    answered, silent = replace(GOOD, silent_for=None), replace(GOOD, silent_for=9.0)

    assert answered.as_of(HELD_UP_AFTER + 1).connected
    assert silent.as_of(HELD_UP_AFTER).connected
    assert not silent.as_of(HELD_UP_AFTER + 1).connected


def test_a_pipeline_whose_breaker_is_open_is_live_but_not_ready() -> None:
    why = "breaker payments is open after 3 failures in a row, the last timeout"

    health = judge(snapshot(replace(GOOD, breaker_open=why)))

    assert (health.live, health.ready) == (True, False)
    assert texts(health) == (f"pipeline: {why}",)


def test_a_flooded_partition_is_named() -> None:
    flooded = PartitionState("orders", 3, 9, 8, None, 20, in_flight=1, paused=False, flooded=True)

    health = judge(snapshot(replace(GOOD, partitions=(flooded,))))

    assert (health.live, health.ready) == (True, False)
    assert texts(health) == ("pipeline: orders[3] is flooded: too many of its messages fail",)


AT_20 = PartitionState("orders", 3, 9, 8, None, 20, in_flight=0, paused=False)
SLOW = replace(AT_20, at_hand=8, waiting=1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"failed": "a poison pill"}, Reason("failed", "stopped: a poison pill")),
        ({"status": "draining"}, Reason("draining", "draining")),
        ({"connected": False, "joined": False}, Reason("no_broker", "no broker is connected")),
        ({"renewed": "_FATAL: no"}, Reason("renewed", "has given its clients up: _FATAL: no")),
        ({"denied": "the group"}, Reason("denied", "is not allowed: the group")),
        ({"silent_for": 40.2}, Reason("no_answer", "no broker has answered for 40 s")),
        ({"missing": ("a", "b")}, Reason("no_topic", "topics to read do not exist: a, b")),
        ({"blocked": "dlq is full"}, Reason("cannot_deliver", "cannot deliver: dlq is full")),
        ({"hindered": "no hands"}, Reason("cannot_handle", "cannot handle: no hands")),
        ({"breaker_open": "breaker a is open"}, Reason("breaker_open", "breaker a is open")),
        (
            {"coordinated": False, "joined": False},
            Reason("no_coordinator", "the coordinator of its group is not connected"),
        ),
        (
            {"joined": False},
            Reason("not_joined", "is no member of its group, not yet or no longer"),
        ),
        (
            {"partitions": (replace(AT_20, progress="stuck"),)},
            Reason(
                "partition_stuck", "orders[3] has messages and stands at 9, and nothing has helped"
            ),
        ),
        (
            {"partitions": (replace(AT_20, uncommitted_for=61.0),), "commit_patience": 60.0},
            Reason("not_committed", "orders[3] was not committed for 61 s"),
        ),
    ],
    ids=lambda value: value.code if isinstance(value, Reason) else "",
)
def test_what_a_restart_would_not_help_against_is_told_with_a_code_and_a_text(
    changes: dict[str, Any], reason: Reason
) -> None:
    health = judge(snapshot(replace(GOOD, **changes)))

    assert (health.live, health.ready) == (True, False)
    assert health.reasons == (Reason(reason.code, f"pipeline: {reason.text}", "pipeline"),)


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"failed": "a poison pill", "status": "failed"}, 4),
        ({"denied": "the group"}, 3),
        ({"partitions": (replace(AT_20, progress="hopeless"),)}, 3),
        ({"joined": False}, 2),
        ({"status": "draining"}, 2),
        ({"partitions": (replace(AT_20, held_by=8),)}, 1),
        ({"partitions": (replace(SLOW, at_hand_for=SLOW_AFTER + 0.1),)}, 1),
        ({"partitions": (replace(SLOW, at_hand_for=SLOW_AFTER),)}, 0),
        ({"partitions": (replace(SLOW, at_hand_for=SLOW_AFTER + 0.1, waiting=0),)}, 0),
        ({}, 0),
    ],
)
def test_how_bad_it_is_with_a_pipeline_follows_from_its_reasons(
    changes: dict[str, Any], level: int
) -> None:
    pipeline = replace(GOOD, **changes)

    assert severity(pipeline, judge(snapshot(pipeline)).reasons) == level


@pytest.mark.parametrize(
    "changes",
    [
        {"partitions": (replace(SLOW, at_hand_for=100 * SLOW_AFTER),)},
        {"silent_for": SILENT_AFTER},
        {"partitions": (replace(AT_20, progress="stands"), replace(AT_20, progress="repaired"))},
        {"partitions": (replace(AT_20, uncommitted_for=59.0),), "commit_patience": 60.0},
        {"partitions": (replace(AT_20, held_by=8, paused=True, due_in=30.0),)},
    ],
    ids=["slow", "answers", "repaired", "commits", "held"],
)
def test_what_may_pass_or_is_on_purpose_is_no_fault(changes: dict[str, Any]) -> None:
    health = judge(snapshot(replace(GOOD, **changes)))

    assert (health.live, health.ready) == (True, True)


def test_a_partition_that_nothing_helps_is_not_live() -> None:
    health = judge(snapshot(replace(GOOD, partitions=(replace(AT_20, progress="hopeless"),))))

    text = "pipeline: orders[3] has messages and stands at 9, and nothing helps"
    assert health.reasons == health.hopeless == (Reason("partition_hopeless", text, "pipeline"),)


def test_joining_that_takes_longer_than_a_group_may_is_not_live() -> None:
    joining = replace(GOOD, status="joining", joined=False, join_patience=600.0)

    patient = judge(snapshot(replace(joining, joining_for=600.0)))
    late = judge(snapshot(replace(joining, joining_for=601.0)))

    assert (patient.live, patient.ready) == (True, False)
    text = "pipeline: has been joining its group for 601 s"
    assert late.hopeless == (Reason("join_stands", text, "pipeline"),)


def test_a_pipeline_that_has_ended_for_good_is_not_helped_by_a_restart() -> None:
    ended = replace(GOOD, status="failed", failed="a poison pill")

    assert judge(snapshot(ended, now=1_000.0)).live


def several(*processes: ProcessState, now: float = 0.0, draining: bool = False) -> Snapshot:
    return Snapshot("name", "1", 0.0, now, draining=draining, processes=processes)


def test_several_processes_are_ready_when_all_are() -> None:
    health = judge(several(*(ProcessState(n, snapshot=snapshot(GOOD)) for n in range(2))))

    assert (health.live, health.ready, texts(health)) == (True, True, ())


def test_reasons_name_the_process() -> None:
    joining = PipelineState("pipeline", "group", "joining", connected=True)
    health = judge(
        several(
            ProcessState(0, snapshot=snapshot(GOOD)),
            ProcessState(1, snapshot=snapshot(joining)),
            ProcessState(2, ended="ended with signal SIGKILL, starts again"),
            ProcessState(3),
        )
    )

    assert (health.live, health.ready) == (True, False)
    assert texts(health) == (
        "process 1: pipeline: is no member of its group, not yet or no longer",
        "process 2: ended with signal SIGKILL, starts again",
        "process 3: starting",
    )


def test_a_process_that_tells_nothing_any_more_is_not_live() -> None:
    silent = ProcessState(1, snapshot=snapshot(GOOD, now=0.0))

    health = judge(several(silent, now=STALLED_AFTER + 1))

    assert health.live is False
    assert texts(health)[0] == "process 1: pipeline: no step for 61 s"


def test_processes_that_are_drained_are_not_ready() -> None:
    health = judge(several(ProcessState(0, snapshot=snapshot(GOOD)), draining=True))

    assert texts(health) == ("draining",)


def test_that_clients_were_given_up_explains_why_a_pipeline_is_held_up() -> None:
    waiting = replace(GOOD, renewed="no such group", stepped=0.0)

    health = judge(snapshot(waiting, now=HELD_UP_AFTER + 1))

    assert texts(health)[0] == "pipeline: has given its clients up: no such group"
