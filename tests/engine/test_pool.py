"""Async handlers on the process's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvloop

from tests.engine.steps import Steps
from worker.engine.partition import Run
from worker.engine.pool import BEAT, AsyncPool, LoopThread, new_loop
from worker.testing import ManualClock
from worker.types import Done, Outcome


@pytest.fixture(params=[asyncio.new_event_loop, new_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[LoopThread]:
    thread = LoopThread(request.param)
    yield thread
    thread.close()


def test_the_loop_is_that_of_uvloop_where_it_is_installed() -> None:
    loop = new_loop()
    loop.close()

    assert isinstance(loop, uvloop.Loop)


def test_async_runs_are_handled_beside_each_other_on_one_loop(loop: LoopThread) -> None:
    meeting = asyncio.Barrier(3)

    async def execute(_run: Run) -> list[Outcome]:
        await meeting.wait()
        return [Done(())]

    finished = Steps(AsyncPool("test", loop, execute, 3), 9).take()

    assert [one.outcomes for one in finished] == [[Done(())]] * 9


def test_never_more_async_runs_are_handled_than_allowed(loop: LoopThread) -> None:
    inside = most = 0

    async def execute(_run: Run) -> list[Outcome]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return [Done(())]

    Steps(AsyncPool("test", loop, execute, 2), 50).take()

    assert most == 2


def test_a_defect_on_the_loop_comes_back_instead_of_being_lost(loop: LoopThread) -> None:
    async def execute(_run: Run) -> list[Outcome]:
        raise RuntimeError("defect")

    (finished,) = Steps(AsyncPool("test", loop, execute, 1), 1).take()

    assert isinstance(finished.error, RuntimeError)


def test_what_ends_processes_comes_back_from_a_task_and_the_loop_goes_on(loop: LoopThread) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def execute(run: Run) -> list[Outcome]:
        if run.messages[0].offset() == 0:
            await asyncio.gather(leave())
        return [Done(())]

    finished, following = Steps(AsyncPool("test", loop, execute, 1), 2).take()

    assert isinstance(finished.error, SystemExit)
    assert following.outcomes == [Done(())]
    assert not loop.dead


def test_a_loop_that_a_handler_keeps_says_for_how_long() -> None:
    clock = ManualClock()
    thread = LoopThread(asyncio.new_event_loop, clock.monotonic)
    begun, goes_on = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        goes_on.wait(10)

    before = thread.blocked_for
    thread.start()
    thread.call(block)
    begun.wait(10)
    clock.advance(BEAT + 7.0)
    blocked = thread.blocked_for
    goes_on.set()
    thread.close()

    assert (before, blocked, thread.blocked_for) == (0.0, 7.0, 0.0)


def test_a_loop_that_has_ended_by_itself_is_known_to_be_dead() -> None:
    thread = LoopThread(asyncio.new_event_loop)
    thread.start()
    before = thread.dead

    def end() -> None:
        thread._loop.__dict__.update(_closed=True)
        thread._loop.stop()

    thread.call(end)
    thread._thread.join(10)
    after = thread.dead
    thread._loop.__dict__.update(_closed=False)
    thread._loop.close()

    assert (before, after) == (False, True)
