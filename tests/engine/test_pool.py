"""Handlers in threads and on the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from worker.engine.partition import Finished, Partition, Run
from worker.engine.pool import AsyncPool, LoopThread, Pool, ThreadPool
from worker.types import Done, Message, Outcome, TopicPartition


def run() -> Run:
    return Run(Partition(TopicPartition("t", 0), 0, None), [Message.of(b"")])


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


def test_runs_are_handled_beside_each_other_in_as_many_threads_as_allowed() -> None:
    meeting = threading.Barrier(2, timeout=10)

    def execute(_run: Run) -> list[Outcome]:
        meeting.wait()
        return [Done(())]

    pool = ThreadPool("test", execute, 2)
    pool.submit(run())
    pool.submit(run())
    assert pool.saturated

    assert [finished.error for finished in collected(pool, 2)] == [None, None]
    assert pool.outstanding == 0
    pool.close()


def test_a_defect_in_a_thread_comes_back_instead_of_being_lost() -> None:
    def execute(_run: Run) -> list[Outcome]:
        raise SystemExit("defect")

    pool = ThreadPool("test", execute, 1)
    pool.submit(run())

    (finished,) = collected(pool, 1)
    assert isinstance(finished.error, SystemExit)
    pool.close()


def test_async_runs_are_handled_beside_each_other_on_one_loop(loop: LoopThread) -> None:
    meeting = asyncio.Barrier(3)

    async def execute(_run: Run) -> list[Outcome]:
        await meeting.wait()
        return [Done(())]

    pool = AsyncPool(loop, execute, 3)
    for _ in range(3):
        pool.submit(run())

    assert len(collected(pool, 3)) == 3


def test_a_defect_on_the_loop_comes_back_instead_of_being_lost(loop: LoopThread) -> None:
    async def execute(_run: Run) -> list[Outcome]:
        raise RuntimeError("defect")

    pool = AsyncPool(loop, execute, 1)
    pool.submit(run())

    (finished,) = collected(pool, 1)
    assert isinstance(finished.error, RuntimeError)
