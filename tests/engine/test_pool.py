"""Async handlers on the process's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from worker.engine.partition import Finished, Partition, Run
from worker.engine.pool import AsyncPool, LoopThread, Pool
from worker.types import Done, Outcome, StoredMessage, TopicPartition


def run() -> Run:
    return Run(Partition(TopicPartition("t", 0), 0, None), [StoredMessage("t")])


def collected(pool: Pool, number: int) -> list[Finished]:
    finished: list[Finished] = []
    while len(finished) < number:
        finished += pool.collect(10.0)
    return finished


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


def test_async_runs_are_handled_beside_each_other_on_one_loop(loop: LoopThread) -> None:
    meeting = asyncio.Barrier(3)

    async def execute(_run: Run) -> list[Outcome]:
        await meeting.wait()
        return [Done(())]

    pool = AsyncPool("test", loop, execute, 3)
    for _ in range(3):
        pool.submit(run())

    assert len(collected(pool, 3)) == 3


def test_a_defect_on_the_loop_comes_back_instead_of_being_lost(loop: LoopThread) -> None:
    async def execute(_run: Run) -> list[Outcome]:
        raise RuntimeError("defect")

    pool = AsyncPool("test", loop, execute, 1)
    pool.submit(run())

    (finished,) = collected(pool, 1)
    assert isinstance(finished.error, RuntimeError)


def test_what_ends_processes_comes_back_from_a_task_and_the_loop_goes_on(loop: LoopThread) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def execute(run: Run) -> list[Outcome]:
        if run.messages[0].offset() == 0:
            await asyncio.gather(leave())
        return [Done(())]

    pool = AsyncPool("test", loop, execute, 1)
    pool.submit(run())
    (finished,) = pool.collect(10.0)
    pool.submit(Run(Partition(TopicPartition("t", 0), 0, None), [StoredMessage("t", offset=1)]))
    (following,) = pool.collect(10.0)

    assert isinstance(finished.error, SystemExit)
    assert following.outcomes == [Done(())]
    assert not loop.dead


def test_a_loop_that_has_ended_by_itself_is_known_to_be_dead() -> None:
    thread = LoopThread()
    thread.start()
    before = thread.dead

    def end() -> None:
        thread._loop.__dict__.update(_closed=True)
        thread._loop.stop()

    thread._loop.call_soon_threadsafe(end)
    thread._thread.join(10)
    after = thread.dead
    thread._loop.__dict__.update(_closed=False)
    thread._loop.close()

    assert (before, after) == (False, True)
