"""Handlers in threads, one of which leads the pipeline."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from threading import Event, current_thread

from tests.engine.steps import PATIENCE, Steps
from worker.engine.partition import Run
from worker.engine.threads import ThreadPool, Watch
from worker.types import Done, Outcome


def steps_of(execute: Callable[[Run], list[Outcome]], size: int, number: int) -> Steps:
    return Steps(ThreadPool("test", execute, size, Watch()), number)


def test_fast_handlers_run_in_the_thread_that_takes_the_steps() -> None:
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


def test_never_more_handlers_run_than_allowed_whoever_leads() -> None:
    inside, most, lock = 0, 0, threading.Lock()
    numbers = itertools.count()

    def execute(_run: Run) -> list[Outcome]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        if next(numbers) % 10 == 0:
            Event().wait(0.05)  # longer than the leading thread may be kept
        with lock:
            inside -= 1
        return [Done(())]

    steps = steps_of(execute, 2, 60)
    steps.take()

    assert most <= 2
    assert len(steps.threads) > 1


def test_a_handler_that_was_slow_is_led_again_once_it_is_fast() -> None:
    relieved, threads = Event(), []

    def execute(of: Run) -> list[Outcome]:
        if of.messages[0].offset() == 0:
            assert relieved.wait(PATIENCE)
        threads.append(current_thread())
        return [Done(())]

    steps = steps_of(execute, 1, 5)
    steps.each = lambda: relieved.set() if len(steps.threads) > 1 else None
    steps.take()

    assert threads[-1] in steps.threads


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
