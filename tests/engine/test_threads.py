"""Handlers in threads, one of which leads the pipeline."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from threading import Event, current_thread

from worker.engine.partition import Finished, Partition, Run
from worker.engine.threads import ThreadPool, Watch
from worker.types import Done, Outcome, StoredMessage, TopicPartition

PATIENCE = 20.0


def run(number: int = 0) -> Run:
    return Run(Partition(TopicPartition("t", 0), 0, None), [StoredMessage("t", offset=number)])


class Pipeline:
    """Gives runs out as the pool has room for them, and collects them."""

    def __init__(
        self, execute: Callable[[Run], list[Outcome]], size: int, runs: Sequence[Run]
    ) -> None:
        self.pool = ThreadPool("test", execute, size, Watch())
        self.finished: list[Finished] = []
        self.threads: list[threading.Thread] = []
        """Those that took steps, in order."""
        self.each_step: Callable[[], object] = lambda: None
        self._runs = list(runs)
        self._ended = Event()

    def work(self) -> list[Finished]:
        """Take steps until every run has come back."""
        self.pool.start(self._steps())
        assert self._ended.wait(PATIENCE), f"only {len(self.finished)} runs have come back"
        return self.finished

    def _steps(self) -> Iterator[None]:
        expected = len(self._runs)
        while len(self.finished) < expected:
            if current_thread() not in self.threads:
                self.threads.append(current_thread())
            self.each_step()
            self.finished += self.pool.collect(0.01)
            while self._runs and not self.pool.saturated:
                self.pool.submit(self._runs.pop(0))
            yield
        self.pool.close()
        self._ended.set()


def test_fast_handlers_run_in_the_thread_that_takes_the_steps() -> None:
    threads = set()

    def execute(_run: Run) -> list[Outcome]:
        threads.add(current_thread())
        return [Done(())]

    pipeline = Pipeline(execute, 4, [run(n) for n in range(50)])
    finished = pipeline.work()

    assert [one.run.messages[0].offset() for one in finished] == list(range(50))
    assert threads == set(pipeline.threads)
    assert len(threads) == 1
    assert pipeline.pool.outstanding == 0


def test_the_steps_go_on_while_a_handler_hangs() -> None:
    hangs, released = Event(), Event()

    def execute(_run: Run) -> list[Outcome]:
        hangs.set()
        assert released.wait(PATIENCE)
        return [Done(())]

    def release_once_it_hangs() -> None:
        if hangs.is_set():
            released.set()

    pipeline = Pipeline(execute, 1, [run()])
    pipeline.each_step = release_once_it_hangs
    (finished,) = pipeline.work()

    assert finished.outcomes == [Done(())]
    assert len(pipeline.threads) == 2


def test_slow_handlers_run_beside_each_other_in_as_many_threads_as_allowed() -> None:
    meeting = threading.Barrier(3, timeout=PATIENCE)

    def execute(_run: Run) -> list[Outcome]:
        meeting.wait()
        return [Done(())]

    pipeline = Pipeline(execute, 3, [run(n) for n in range(12)])

    assert [one.error for one in pipeline.work()] == [None] * 12


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

    pipeline = Pipeline(execute, 2, [run(n) for n in range(60)])
    pipeline.work()

    assert most <= 2
    assert len(pipeline.threads) > 1


def test_a_handler_that_was_slow_is_led_again_once_it_is_fast() -> None:
    relieved, threads = Event(), []

    def execute(of: Run) -> list[Outcome]:
        if of.messages[0].offset() == 0:
            assert relieved.wait(PATIENCE)
        threads.append(current_thread())
        return [Done(())]

    pipeline = Pipeline(execute, 1, [run(n) for n in range(5)])
    pipeline.each_step = lambda: relieved.set() if len(pipeline.threads) > 1 else None
    pipeline.work()

    assert threads[-1] in pipeline.threads


def test_a_defect_comes_back_instead_of_being_lost() -> None:
    def execute(_run: Run) -> list[Outcome]:
        raise SystemExit("defect")

    (finished,) = Pipeline(execute, 1, [run()]).work()

    assert isinstance(finished.error, SystemExit)


def test_all_threads_end_when_the_steps_have_ended() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)
    used = set()

    def execute(_run: Run) -> list[Outcome]:
        used.add(current_thread())
        meeting.wait()
        return [Done(())]

    pipeline = Pipeline(execute, 2, [run(n) for n in range(4)])
    pipeline.work()
    threads = used | set(pipeline.threads)

    for thread in threads:
        thread.join(PATIENCE)
    assert len(threads) > 1
    assert not any(thread.is_alive() for thread in threads)
