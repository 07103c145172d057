"""SIGHUP, which asks programs to read their configuration again, or says a terminal is gone."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, Worker, free_port, ids, is_through, numbered

pytestmark = pytest.mark.kafka

RECORDS = 40


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_a_sighup_changes_nothing_and_the_log_says_so(
    kafka: Kafka, tmp_path: Path, processes: tuple[str, ...]
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()

    with spec.worker(*processes) as worker:
        worker.until(worker.is_ready)
        before = [process["pid"] for process in worker.processes()]
        for pid in before:
            os.kill(pid, signal.SIGHUP)
        worker.send(signal.SIGHUP)
        worker.until(lambda: "SIGHUP changes nothing: a changed spec takes a restart" in worker.log)
        kafka.produce(spec.source, numbered(RECORDS))
        worker.until(lambda: is_through(kafka, spec, RECORDS))
        assert [process["pid"] for process in worker.processes()] == before
        assert worker.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == list(range(RECORDS))


def test_a_worker_whose_terminal_is_closed_drains(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "echo_slowly", {"in_flight": {"messages": 200}})
    spec.create_topics()
    kafka.produce(spec.source, numbered(50 * RECORDS))
    ours, terminal = pty.openpty()
    port = free_port()

    with Worker(spec.written(server={"port": port}), port, stdin=terminal) as worker:
        worker.until_handled(1)
        worker.send(signal.SIGHUP)
        assert worker.ended() == 0, worker.log
    os.close(ours)
    os.close(terminal)
    with spec.worker() as worker:
        worker.until(lambda: is_through(kafka, spec, 50 * RECORDS))
        assert worker.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == list(range(50 * RECORDS))
