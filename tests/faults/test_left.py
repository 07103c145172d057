"""Of the logs, what nobody expects is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.faults.crew import Crew, Worker
from tests.faults.left import unexpected


def line(level: str = "INFO", message: str = "all is well", **more: str) -> str:
    return orjson.dumps(
        {"level": level, "logger": "worker.engine.runner", "message": message, **more}
    ).decode()


def told(folder: Path, worker: str, broker: str = "") -> list[str]:
    """What is told of the logs of a worker and a broker that end with these lines."""
    log, brokers = folder / "worker.log", folder / "node-0" / "broker.log"
    log.write_text(f"{line()}\n{worker}\n")
    brokers.parent.mkdir()
    brokers.write_text(f"INFO all is well\n{broker}\n")
    process = subprocess.Popen([sys.executable, "-c", ""], env=os.environ)
    process.wait()
    crew = Crew(folder / "spec", folder, {"a": 0})
    crew.workers.append(Worker("a.0", process, 0, log, 0.0))
    return [*unexpected(crew, [brokers], ["there is no room"])]


@pytest.mark.parametrize(
    "worker",
    [
        line("ERROR", "ending at once"),
        line("WARNING", "a handler failed", exception="Traceback"),
        "Traceback (most recent call last):",
    ],
)
def test_errors_tracebacks_and_what_is_no_line_of_the_log_are_told(
    tmp_path: Path, worker: str
) -> None:
    assert told(tmp_path, worker) == [f"a.0: {worker}"]


@pytest.mark.parametrize(
    "worker",
    [
        line("ERROR", "exact: reads again from what is committed: a broker is away"),
        line("ERROR", "TXNERR of the client", logger="worker.kafka.client.producer"),
        line("WARNING", "a message was tried again"),
        line("ERROR", "there is no room for it"),
    ],
)
def test_what_faults_are_to_cause_is_not(tmp_path: Path, worker: str) -> None:
    assert told(tmp_path, worker) == []


def test_the_worst_of_brokers_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, line(), "ERROR java.lang.OutOfMemoryError: Java heap space") == [
        "node-0: ERROR java.lang.OutOfMemoryError: Java heap space"
    ]
