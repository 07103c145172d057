"""The judgement of the worker's state."""

from __future__ import annotations

from worker.flow.health import STALLED_AFTER, PipelineState, Snapshot, judge


def snapshot(*pipelines: PipelineState, now: float = 0.0, broken: str | None = None) -> Snapshot:
    return Snapshot("name", "1", 0.0, now, broken=broken, pipelines=pipelines)


def test_a_pipeline_that_makes_no_step_is_not_live() -> None:
    pipeline = PipelineState("pipeline", "group", "running", joined=True, connected=True)

    fresh = judge(snapshot(pipeline, now=STALLED_AFTER))
    stalled = judge(snapshot(pipeline, now=STALLED_AFTER + 1))

    assert (fresh.live, fresh.ready) == (True, True)
    assert stalled.live is False
    assert stalled.reasons == ("pipeline: no step for 61 s",)


def test_what_only_a_restart_helps_against_is_not_live() -> None:
    health = judge(snapshot(broken="the asyncio loop has ended"))

    assert (health.live, health.ready) == (False, False)
    assert health.reasons == ("the asyncio loop has ended",)
