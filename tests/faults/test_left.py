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
        "123",
        '{"message": "without a level"}',
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


@pytest.mark.parametrize(
    "broker",
    [
        "java.lang.OutOfMemoryError: Java heap space",
        "[main] ERROR kafka.Kafka$ - Exiting Kafka due to fatal exception",
        "[x] ERROR kafka.log.LogManager - Shutdown broker because all log dirs have failed",
    ],
)
def test_errors_of_brokers_are_told(tmp_path: Path, broker: str) -> None:
    assert told(tmp_path, line(), broker) == [f"node-0: {broker}"]


@pytest.mark.parametrize(
    "broker",
    [
        "[x] ERROR kafka.server.ReplicaManager - Error processing append operation on input-1",
        "[x] ERROR org.apache.kafka.controller.EventPerformanceMonitor - Exceptionally slow event",
        "[x] INFO kafka.server.KafkaServer - started (kafka.server.KafkaServer)",
    ],
)
def test_what_brokers_say_of_requests_that_they_refuse_is_not(tmp_path: Path, broker: str) -> None:
    assert told(tmp_path, line(), broker) == []
