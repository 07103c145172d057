"""Handlers in threads, one of which leads the pipeline."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from math import inf
from threading import Event, current_thread

import pytest

from tests.engine.steps import PATIENCE, Steps
from worker.engine.partition import Run
from worker.engine.threads import ThreadPool, Watch
from worker.types import Done, Outcome


def steps_of(execute: Callable[[Run], list[Outcome]], size: int, number: int) -> Steps:
    return Steps(ThreadPool("test", execute, size, Watch()), number)


@pytest.fixture
def all_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler is slow, however long the machine halts."""
    monkeypatch.setattr("worker.engine.threads.SLOW", inf)


@pytest.fixture
def all_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every handler is slow."""
    monkeypatch.setattr("worker.engine.threads.SLOW", 0.0)


@pytest.mark.usefixtures("all_fast")
def test_fast_handlers_run_in_the_thread_that_takes_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.engine.threads.PATIENCE", PATIENCE)
    threads = set()

    def execute(_run: Run) -> list[Outcome]:
        threads.add(current_thread())
        return [Done(())]

    steps = steps_of(execute, 4, 50)
    finished = steps.take()

    assert [one.run.messages[0].offset() for one in finished] == list(range(50))
    assert threads == set(steps.threads)
    assert len(threads) == 1
    assert steps.pool.outstanding == 0


def test_the_steps_go_on_while_a_handler_hangs() -> None:
    hangs, released = Event(), Event()

    def execute(_run: Run) -> list[Outcome]:
        hangs.set()
        assert released.wait(PATIENCE)
        return [Done(())]

    def release_once_it_hangs() -> None:
        if hangs.is_set():
            released.set()

    steps = steps_of(execute, 1, 1)
    steps.each = release_once_it_hangs
    (finished,) = steps.take()

    assert finished.outcomes == [Done(())]
    assert len(steps.threads) == 2


def test_slow_handlers_run_beside_each_other_in_as_many_threads_as_allowed() -> None:
    meeting = threading.Barrier(3, timeout=PATIENCE)

    def execute(_run: Run) -> list[Outcome]:
        meeting.wait()
        return [Done(())]

    steps = steps_of(execute, 3, 12)

    assert [one.error for one in steps.take()] == [None] * 12


@pytest.mark.usefixtures("all_slow")
def test_slow_handlers_never_run_in_the_thread_that_takes_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.engine.threads.PATIENCE", PATIENCE)
    threads = []

    def execute(_run: Run) -> list[Outcome]:
        threads.append(current_thread())
        return [Done(())]

    steps = steps_of(execute, 2, 10)
    steps.take()

    assert threads[0] in steps.threads, "nothing is known of the first"
    assert not set(threads[1:]) & set(steps.threads)


def test_never_more_handlers_or_threads_than_allowed_whoever_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.engine.threads.PATIENCE", 0.002)
    inside, most, lock = 0, 0, threading.Lock()
    numbers = itertools.count()

    def execute(_run: Run) -> list[Outcome]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if next(numbers) % 10 == 0:
            Event().wait(0.01)  # longer than the leading thread may be kept
        with lock:
            inside -= 1
        return [Done(())]

    pool = ThreadPool("test", execute, 2, Watch())
    steps = Steps(pool, 300)
    steps.take()

    assert most <= 2
    assert len(steps.threads) > 1
    assert pool._threads <= 3


@pytest.mark.usefixtures("all_fast")
def test_the_thread_that_leads_handles_runs_again_once_they_are_fast() -> None:
    released, threads = Event(), dict[int, threading.Thread]()

    def execute(of: Run) -> list[Outcome]:
        offset = of.messages[0].offset()
        threads[offset] = current_thread()
        if offset == 0:
            assert released.wait(PATIENCE)
        return [Done(())]

    steps = steps_of(execute, 2, 5)
    steps.each = lambda: released.set() if len(steps.finished) == 4 else None
    steps.take()

    assert threads[0] is steps.threads[0]
    assert threads[4] is steps.threads[1]


@pytest.mark.parametrize("slowness", [0.0, inf], ids=["slow", "hanging"])
def test_handlers_wait_for_each_other_when_no_further_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, slowness: float
) -> None:
    start = threading.Thread.start

    def start_one_at_most(thread: threading.Thread) -> None:
        if thread.name == "test-1":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one_at_most)
    monkeypatch.setattr("worker.engine.threads.SLOW", slowness)
    monkeypatch.setattr("worker.engine.threads.PATIENCE", 0.001)

    def execute(_run: Run) -> list[Outcome]:
        Event().wait(0.01)
        return [Done(())]

    assert len(steps_of(execute, 2, 5).take()) == 5
    assert caplog.messages == ["test: handlers wait for each other: can't start new thread"]


def test_a_defect_comes_back_instead_of_being_lost() -> None:
    def execute(_run: Run) -> list[Outcome]:
        raise SystemExit("defect")

    (finished,) = steps_of(execute, 1, 1).take()

    assert isinstance(finished.error, SystemExit)


def test_all_threads_end_when_the_steps_have_ended() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)
    used = set()

    def execute(_run: Run) -> list[Outcome]:
        used.add(current_thread())
        meeting.wait()
        return [Done(())]

    steps = steps_of(execute, 2, 4)
    steps.take()
    threads = used | set(steps.threads)

    for thread in threads:
        thread.join(PATIENCE)
    assert len(threads) > 1
    assert not any(thread.is_alive() for thread in threads)
