"""The supervisor with real processes, which do what the tests need instead of a worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.processes import bodies
from worker.flow.health import Reason, judge
from worker.ports import Clock
from worker.processes.child import Target
from worker.processes.supervisor import Supervisor

DEADLINE = 60.0


class Hurried(Clock):
    """A clock by which a second passes in a millisecond."""

    def monotonic(self) -> float:
        return time.monotonic() * 1_000


def supervisor_of(target: Target, processes: int, clock: Clock | None = None) -> Supervisor:
    return Supervisor(
        "name", "1", processes, target, clock or Clock(), 60.0, lambda _snapshot: nullcontext()
    )


class Running:
    """A supervisor that runs in a thread of its own."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._codes: list[int] = []
        self._thread = threading.Thread(
            target=lambda: self._codes.append(supervisor.run()), daemon=True
        )
        self._thread.start()

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, self.supervisor.snapshot()
            self._thread.join(0.02)
            assert self._thread.is_alive(), self._codes

    def until_ready(self) -> None:
        self.until(lambda: judge(self.supervisor.snapshot()).ready)

    def ended(self) -> int:
        """Wait for the exit code."""
        self._thread.join(DEADLINE)
        (code,) = self._codes
        return code

    def stop(self) -> int:
        """Ask for a drain; returns the exit code."""
        self.supervisor.stop()
        return self.ended()


@contextmanager
def running(target: Target, processes: int, clock: Clock | None = None) -> Iterator[Running]:
    """Run a supervisor; whatever happens, its processes have ended afterwards."""
    run = Running(supervisor_of(target, processes, clock))
    try:
        yield run
    finally:
        run.supervisor.stop()
        run.supervisor.stop()
        run.ended()


def test_the_states_of_all_processes_are_summed_and_a_stop_drains_them() -> None:
    with running(bodies.count, 3) as run:
        run.until_ready()
        snapshot = run.supervisor.snapshot()
        (pipeline,) = snapshot.pipelines
        assert pipeline.counts.received == 10 + 11 + 12
        assert len({process.pid for process in snapshot.processes}) == 3
        assert run.stop() == 0


@pytest.mark.parametrize("code", [78, 69, 3, 1])
def test_what_keeps_all_processes_from_starting_is_told_by_the_first_alone(
    tmp_path: Path, code: int
) -> None:
    assert supervisor_of(partial(bodies.end, code, tmp_path), 3).run() == code

    (sign,) = tmp_path.iterdir()
    assert sign.name.startswith("0.")


@pytest.mark.parametrize("body", [bodies.crash_once, bodies.fork_and_crash_once])
def test_a_process_that_was_killed_is_started_again(
    tmp_path: Path, body: Callable[[Path, int, Connection], None]
) -> None:
    with running(partial(body, tmp_path), 2) as run:
        run.until_ready()
        assert [process.restarts for process in run.supervisor.snapshot().processes] == [1, 1]
        assert run.stop() == 0


def test_a_process_whose_pipelines_have_all_stopped_is_left_alone_and_the_others_go_on() -> None:
    with running(bodies.fail, 3) as run:
        run.until(lambda: len(run.supervisor.snapshot().pipelines) == 1)
        run.until(
            lambda: (
                judge(run.supervisor.snapshot()).reasons
                == (Reason("process_ended", "process 0: ended with exit code 1"),)
            )
        )
        assert run.stop() == 1


def test_when_no_process_is_left_the_whole_ends_with_1() -> None:
    assert supervisor_of(bodies.all_fail, 2).run() == 1


def test_a_second_stop_ends_what_hangs_in_the_drain() -> None:
    with running(bodies.hang, 2) as run:
        run.until_ready()
        run.supervisor.stop()
        run.until(lambda: run.supervisor.snapshot().draining)
        assert run.stop() == 4


def test_what_takes_no_notice_is_killed_when_the_time_to_drain_is_over() -> None:
    with running(bodies.ignore, 2, Hurried()) as run:
        run.until(lambda: all(one.snapshot for one in run.supervisor.snapshot().processes))
        assert run.stop() == 4


def test_a_stop_before_any_worker_is_there_ends_in_good_order() -> None:
    with running(bodies.begin, 2) as run:
        run.until(lambda: run.supervisor.snapshot().processes[0].pid is not None)
        assert run.stop() == 0
