"""What the client says when it says all: no secret, before anything is hidden in it."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from tests.secure import USERS, SecureKafka, locked
from tests.tokens import token_server
from worker.kafka import config
from worker.settings import KafkaSettings, Spec
from worker.settings.secrets import secrets_of

pytestmark = pytest.mark.kafka


def said_by(kafka: KafkaSettings) -> list[str]:
    """The lines of a client that has got in, with `debug` as wide as it goes."""
    lines = list[str]()

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("tests.client_log")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [Kept()]
    properties: dict[str, Any] = {
        **config.member(kafka, "nobody", "read_committed"),
        "debug": "all",
        "log_level": 7,
    }
    client = Consumer(properties, logger=logger)
    client.poll(0)
    assert client.list_topics(timeout=60).brokers
    client.poll(0)
    client.close()
    return lines


def forms(kafka: KafkaSettings, user: str) -> set[str]:
    """The secrets as they are and as they are sent."""
    secrets = secrets_of(Spec.of_cluster(kafka))
    plain = [f"\0{user}\0{one}".encode() for one in secrets]
    basic = [f"{user}:{one}".encode() for one in secrets]
    return {*secrets, *(base64.b64encode(one).decode() for one in (*plain, *basic))}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_no_password_is_in_the_log_of_the_client(
    secure_kafka: SecureKafka, tmp_path: Path, mechanism: str
) -> None:
    own = secure_kafka.certificates.client
    key = tmp_path / "key.pem"
    key.write_bytes(locked(own.read_bytes(), "canary-of-a-key"))
    kafka = KafkaSettings.model_validate(
        {
            "brokers": secure_kafka.addresses["SASL_SSL"],
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": mechanism,
                "username": "alice",
                "password": USERS["alice"],
                "ca": str(secure_kafka.certificates.ca),
                "certificate": str(own),
                "key": str(key),
                "key_password": "canary-of-a-key",
            },
        }
    )

    lines = said_by(kafka)

    assert len(lines) > 50
    assert [line for line in lines if any(one in line for one in forms(kafka, "alice"))] == []


def test_no_secret_of_a_client_of_tokens_is_in_the_log_of_the_client(
    secure_kafka: SecureKafka,
) -> None:
    with token_server() as (endpoint, _):
        kafka = KafkaSettings.model_validate(
            {
                "brokers": secure_kafka.addresses["SASL_SSL"],
                "security": {
                    "protocol": "SASL_SSL",
                    "mechanism": "OAUTHBEARER",
                    "ca": str(secure_kafka.certificates.ca),
                    "oauth": {
                        "endpoint": endpoint,
                        "client_id": "worker",
                        "client_secret": "canary-of-a-client",
                    },
                },
            }
        )

        lines = said_by(kafka)

    assert len(lines) > 50
    assert [line for line in lines if any(one in line for one in forms(kafka, "worker"))] == []
