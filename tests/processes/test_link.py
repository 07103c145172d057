"""A process' side of the connection to its supervisor."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from tests.processes.bodies import RUNNING, Worker
from worker.processes.link import Link
from worker.spawn import ENDS, SIGNALS

DEADLINE = 60.0


@pytest.fixture
def connections() -> Iterator[tuple[Connection, Connection]]:
    """The supervisor's end and the process'."""
    supervisor, process = Pipe()
    yield supervisor, process
    supervisor.close()


def attached(connection: Connection, worker: Worker) -> Link:
    link = Link(connection, 3_600.0)
    link.attach(worker)
    return link


def test_the_state_of_the_worker_goes_up(connections: tuple[Connection, Connection]) -> None:
    supervisor, process = connections
    attached(process, Worker())

    assert supervisor.poll(DEADLINE)
    (pipeline,) = supervisor.recv().pipelines
    assert (pipeline.name, pipeline.status) == (RUNNING.name, "running")


def test_a_process_without_a_supervisor_drains(connections: tuple[Connection, Connection]) -> None:
    supervisor, process = connections
    worker = Worker()
    attached(process, worker)

    supervisor.close()

    assert worker.run() == 0


def test_a_drain_that_is_ordered_many_times_is_one_and_force_is_more(
    connections: tuple[Connection, Connection],
) -> None:
    supervisor, process = connections
    worker = Worker(stops=2)
    link = attached(process, worker)

    link.drain()
    link.drain()
    supervisor.send("drain")
    supervisor.send("force")

    assert worker.run() == 4
    assert worker.asked == 0


def test_signals_drain_once_however_many_come_and_a_hangup_does_nothing(
    connections: tuple[Connection, Connection],
) -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    worker = Worker()
    try:
        attached(connections[1], worker).take_signals()
        signal.raise_signal(signal.SIGHUP)
        assert worker.asked == 0
        for number in ENDS:
            signal.raise_signal(number)
            signal.raise_signal(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert worker.run() == 0
    assert worker.asked == 0
