"""A pipeline over SASL and TLS, and what a worker says when it is not let in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.secure import USERS, SecureKafka
from tests.system.rig import Kafka, Spec, ids, numbered

pytestmark = pytest.mark.kafka


def over(secure: SecureKafka, password: str) -> Mapping[str, Any]:
    """The part `kafka` of a spec, for a user over TLS."""
    return {
        "kafka": {
            "brokers": secure.addresses["SASL_SSL"],
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": "SCRAM-SHA-512",
                "username": "alice",
                "password": password,
                "ca": str(secure.certificates.ca),
            },
        }
    }


def test_a_pipeline_runs_over_sasl_and_tls(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    kafka = Kafka(secure_kafka.addresses["PLAINTEXT"])
    spec = Spec(kafka, tmp_path, "echo", top=over(secure_kafka, USERS["alice"]))
    spec.create_topics()
    kafka.produce(spec.source, numbered(100))

    with spec.worker() as worker:
        worker.until_handled(100)
        assert worker.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == list(range(100))
    assert USERS["alice"] not in worker.log


def test_a_worker_with_a_wrong_password_waits_and_says_why(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    kafka = Kafka(secure_kafka.addresses["PLAINTEXT"])
    spec = Spec(kafka, tmp_path, "echo", top=over(secure_kafka, "canary-password"))
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(lambda: "_AUTHENTICATION" in str(worker.get("/readyz")))
        assert worker.codes() == ["denied"]
        assert worker.get("/livez") == {"status": "ok", "reasons": []}
        assert worker.stop() == 0

    assert "canary-password" not in worker.log


def test_a_worker_that_does_not_verify_its_brokers_is_warned_at_each_start(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    kafka = Kafka(secure_kafka.addresses["PLAINTEXT"])
    top = over(secure_kafka, USERS["alice"])
    security = {**top["kafka"]["security"], "skip_verify": True}
    spec = Spec(kafka, tmp_path, "echo", top={"kafka": {**top["kafka"], "security": security}})
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0

    assert "kafka.security.skip_verify is on" in worker.log
