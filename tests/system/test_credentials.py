"""A password that is changed while a worker runs, at brokers that want it shown again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (  # not re-exported for type checkers
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.system.rig import Kafka, Spec, ids, is_through, numbered
from worker.kafka.broker import KafkaCluster
from worker.kafka.listeners import BrokerSecurity
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

USER, PASSWORD = "alice", "alice-secret"
AGAIN_AFTER = 3.0
"""Seconds for which a connection is believed."""


@contextmanager
def running() -> Iterator[str]:
    properties = {"connections.max.reauth.ms": str(int(AGAIN_AFTER * 1000))}
    security = BrokerSecurity({USER: PASSWORD})
    with KafkaCluster(heap="512m", properties=properties, security=security) as cluster:
        yield f"{cluster.address} {cluster.address_of('SASL_PLAINTEXT')}"


@pytest.fixture
def addresses() -> Iterator[tuple[str, str]]:
    """Those of the listener without SASL, and of the one with it."""
    with real(running) as found:
        plain, secure = found.split()
        yield plain, secure


def change(kafka: Kafka, password: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka.address})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, info, password.encode())
    for future in client.alter_user_scram_credentials([change]).values():
        future.result(30)


def test_a_worker_shows_its_password_again_and_waits_while_it_is_not_the_right_one(
    addresses: tuple[str, str], tmp_path: Path
) -> None:
    kafka, secure = Kafka(addresses[0]), addresses[1]
    security = {
        "protocol": "SASL_PLAINTEXT",
        "mechanism": "SCRAM-SHA-512",
        "username": USER,
        "password": PASSWORD,
    }
    spec = Spec(kafka, tmp_path, "echo", client={"brokers": secure, "security": security})
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(lambda: age(worker.get("/stats")) > 3 * AGAIN_AFTER and worker.is_ready())
        kafka.produce(spec.source, numbered(40))
        worker.until(lambda: is_through(kafka, spec, 40))
        assert worker.count("rebalances") == 1
        change(kafka, "another-secret")
        worker.until(worker.codes)
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        worker.until(lambda: "SASL authentication error" in worker.log)
        change(kafka, PASSWORD)
        kafka.produce(spec.source, list(numbered(80))[40:])
        worker.until(lambda: is_through(kafka, spec, 80))
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    assert set(ids(kafka.read(spec.target))) == set(range(80))
    assert PASSWORD not in worker.log


def age(stats: dict[str, float] | None) -> float:
    return 0.0 if stats is None else stats["now"] - stats["started"]
