"""The process: what hangs in it does not keep it from ending."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from threading import Semaphore
from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.engine.pipeline import PipelineLoop
from worker.engine.pool import LoopThread
from worker.engine.resources import ResourceFailed, Resources
from worker.engine.worker import DRAINED, FORCED, Worker
from worker.handlers import Registry
from worker.ports import Clock


class Hurried(Clock):
    """A clock by which ten seconds pass in ten milliseconds."""

    def monotonic(self) -> float:
        return time.monotonic() * 1_000


def nothing() -> Iterator[None]:
    """A resource that is nothing."""
    yield


def worker_of(
    resource: Callable[..., Any], clock: Clock | None = None, pipelines: Sequence[PipelineLoop] = ()
) -> Worker:
    """A worker with these pipelines that has this resource."""
    registry, loop = Registry(), LoopThread()
    registry.resource(resource, name="resource")
    return Worker(
        "name",
        "1",
        prepare=lambda: None,
        pipelines=lambda _resources: pipelines,
        resources=Resources(registry.needed(["resource"]), loop),
        loop=loop,
        clock=clock or Clock(),
        drain_timeout=1.0,
        startup_timeout=None,
        serve=lambda _snapshot: nullcontext(),
    )


def test_resources_are_set_up_and_torn_down_around_the_pipelines() -> None:
    happened: list[str] = []

    def resource() -> Iterator[None]:
        happened.append("up")
        yield
        happened.append("down")

    assert worker_of(resource).run() == DRAINED
    assert happened == ["up", "down"]


def test_a_resource_that_cannot_be_set_up_ends_the_worker_with_its_error() -> None:
    def resource() -> Iterator[None]:
        raise OSError("no network")
        yield

    worker = worker_of(resource)

    with pytest.raises(ResourceFailed, match="no network"):
        worker.run()
    worker._loop.close()


def test_while_pipelines_work_memory_is_tidied_up_again_and_again() -> None:
    rig = Rig(lambda payload: payload)
    loop = PipelineLoop(rig.runner.job, rig._clients, rig.pool, rig.clock, rig.observer)
    worker, collected = worker_of(nothing, Hurried(), [loop]), Semaphore(0)

    def note(phase: str, told: Mapping[str, int]) -> None:
        if (phase, told["generation"]) == ("stop", 2):
            collected.release()

    gc.callbacks.append(note)
    thread = threading.Thread(target=worker.run)
    thread.start()
    found = [collected.acquire(timeout=10) for _ in range(3)]  # the first as it begins
    gc.callbacks.remove(note)
    worker.stop()
    thread.join(10)
    worker._loop.close()

    assert found == [True] * 3


def test_a_second_stop_ends_a_worker_whose_resource_is_never_set_up() -> None:
    hangs, codes = threading.Event(), list[int]()

    def resource() -> Iterator[None]:
        hangs.set()
        threading.Event().wait()
        yield

    worker = worker_of(resource)
    thread = threading.Thread(target=lambda: codes.append(worker.run()), daemon=True)
    thread.start()
    hangs.wait(10)
    worker.stop()
    worker.stop()
    thread.join(10)
    worker._loop.close()

    assert codes == [FORCED]


def test_a_tear_down_that_hangs_is_left_when_the_time_to_end_is_over() -> None:
    def resource() -> Iterator[None]:
        yield
        threading.Event().wait()

    worker = worker_of(resource, Hurried())

    assert worker.run() == FORCED
    worker._loop.close()
