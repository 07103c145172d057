"""Connections that say nothing, or not enough, cost a worker on a real Kafka nothing."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.rig import Kafka, Spec, WorkerProcess, numbered
from worker.http import CONNECTIONS

pytestmark = pytest.mark.kafka

IDLE = 200


@pytest.fixture
def kafka(kafka_address: str) -> Kafka:
    return Kafka(kafka_address)


def sockets(worker: WorkerProcess) -> int:
    """How many a process has open."""
    found = 0
    for file in Path(f"/proc/{worker.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += str(file.readlink()).startswith("socket:")
    return found


@pytest.mark.parametrize("said", [b"", b"GET /stats HTTP/1.1\r\nHost: loc"])
def test_two_hundred_idle_connections_keep_neither_messages_nor_probes_waiting(
    kafka: Kafka, tmp_path: Path, said: bytes
) -> None:
    spec = Spec(kafka, tmp_path, "echo")
    spec.create_topics()

    with spec.worker() as worker, ExitStack() as stack:
        worker.until(worker.is_ready)
        before = sockets(worker)
        where = urlsplit(worker.address)
        for _ in range(IDLE):
            one = stack.enter_context(socket.create_connection((where.hostname, where.port or 0)))
            one.sendall(said)
        kafka.produce(spec.source, numbered(2_000))
        worker.until_handled(2_000)

        assert worker.is_ready()
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        assert sockets(worker) <= before + CONNECTIONS
        assert worker.stop() == 0
