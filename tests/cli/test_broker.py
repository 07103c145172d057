from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.rig import environment, worker
from tests.system.rig import free_port
from worker.cli.commands.broker import takes
from worker.cli.exit_codes import UNREACHABLE
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings
from worker.testing.sharing import go_without


@contextmanager
def broker(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A broker that is ready, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "broker", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready, _, address = process.stdout.readline().strip().partition(" ")
        if not ready and process.wait(60) == UNREACHABLE:
            go_without("no real Apache Kafka")
        assert ready == "ready"
        try:
            yield process, address
        finally:
            process.kill()


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_broker_answers_once_it_is_ready_and_a_signal_ends_it_in_good_order(
    number: signal.Signals,
) -> None:
    with broker() as (process, address):
        brokers = KafkaSettings.model_validate({"brokers": address})
        known = KafkaAdmin(brokers).describe(["nothing"])
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert (known, process.returncode) == ({}, 0)
    assert "started in " in err
    assert "Traceback" not in err
    assert address == "127.0.0.1:9092" or f"export KAFKA_BROKERS={address}" in err


@pytest.mark.kafka
def test_signals_without_end_end_it_as_one_does() -> None:
    with broker() as (process, _):
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "Traceback" not in err


@pytest.mark.kafka
def test_it_listens_where_it_is_told_to_or_on_any_port_that_is_free() -> None:
    port = free_port()

    with broker("--port", "0") as (_, other), broker("--port", str(port)) as (process, told):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert other != "127.0.0.1:9092"
    assert told == f"127.0.0.1:{port}"
    assert f"export KAFKA_BROKERS={told}" in err


def test_a_port_that_was_asked_for_and_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, out, err = worker("broker", "--port", port, folder=tmp_path)

    assert (code, out) == (69, "")
    assert f"Error: port {port} is taken; --port 0 takes any that is free\n" in err


def test_a_port_is_free_for_one_broker_and_while_nobody_else_listens_on_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ExitStack() as first:
        port = other.getsockname()[1]
        assert not takes(port, first)
        other.close()

        with ExitStack() as second:
            assert takes(port, second)
            assert not takes(port, first)
        assert takes(port, first)
