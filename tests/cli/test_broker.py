from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.cli.rig import environment
from worker.cli.exit_codes import UNREACHABLE
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings

pytestmark = pytest.mark.kafka


@contextmanager
def broker() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A broker that is ready, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "broker"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready, _, address = process.stdout.readline().strip().partition(" ")
        if not ready and process.wait(60) == UNREACHABLE:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up("no real Apache Kafka")
        assert ready == "ready"
        try:
            yield process, address
        finally:
            process.kill()


def is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


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


def test_signals_without_end_end_it_as_one_does() -> None:
    with broker() as (process, _):
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "Traceback" not in err


def test_it_listens_where_everybody_looks_for_a_kafka_and_says_so_when_it_cannot() -> None:
    was_free = is_free(9092)
    with broker() as (first, address):
        if not was_free or address != "127.0.0.1:9092":
            pytest.skip("port 9092 is taken")
        with broker() as (second, other):
            second.terminate()
            _, err = second.communicate(timeout=60)
        first.terminate()
        first.communicate(timeout=60)

    assert other != address
    assert "port 9092 is taken" in err
    assert f"export KAFKA_BROKERS={other}" in err
