"""Who may connect, and to whom: SASL and TLS on a real broker with listeners for each."""

from __future__ import annotations

import base64
import logging
import socketserver
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka import KafkaError

from tests.client.rig import DEADLINE, Inbox, unique, until, values
from tests.secure import USERS, SecureKafka, locked
from tests.tokens import jwt, token_server
from worker import Kafka, KafkaSettings
from worker.errors import ConnectionFailed
from worker.kafka.tokens import Token

pytestmark = pytest.mark.kafka

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
ALICE = {"username": "alice", "password": USERS["alice"]}
CANARY = "canary-of-a-password"


def client(
    secure: SecureKafka, protocol: str, address: str | None = None, **security: Any
) -> Kafka:
    """A client of a listener, which trusts the broker's authority unless it is told otherwise."""
    trusted = {"ca": str(secure.certificates.ca)} if protocol.endswith("SSL") else {}
    return Kafka(settings(secure, protocol, address, **(trusted | security)))


def settings(
    secure: SecureKafka, protocol: str, address: str | None = None, **security: Any
) -> KafkaSettings:
    return KafkaSettings.model_validate(
        {
            "brokers": address or secure.addresses[protocol],
            "network": {"request_timeout": "20s"},
            "security": {"protocol": protocol, **security},
        }
    )


def round_trip(kafka: Kafka) -> None:
    """Use every kind of client below: admin, producer, reader, member."""
    topic, read, joined = unique("topic"), Inbox(), Inbox()
    kafka.create_topic(topic)
    kafka.consume(topic, read, background=True)
    kafka.send(topic, "x")
    assert values(read.take(1)) == [b"x"]
    kafka.stop_consume()
    kafka.join_group(unique("group"), topic, joined, background=True)
    kafka.leave_group()


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("user", USERS)
def test_every_client_gets_in_by_name_and_password(
    secure_kafka: SecureKafka, protocol: str, mechanism: str, user: str
) -> None:
    who = {"username": user, "password": USERS[user]}
    with client(secure_kafka, protocol, mechanism=mechanism, **who) as kafka:
        round_trip(kafka)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("who", [{**ALICE, "password": CANARY}, {**ALICE, "username": "mallory"}])
def test_a_wrong_name_or_password_is_said_at_once_and_not_shown(
    secure_kafka: SecureKafka,
    mechanism: str,
    who: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with client(secure_kafka, "SASL_SSL", mechanism=mechanism, **who) as kafka:
        begun = time.monotonic()
        with pytest.raises(ConnectionFailed, match="check mechanism, username and pass") as caught:
            kafka.send("topic", "x")

        assert time.monotonic() - begun < 10
        assert caught.value.code == KafkaError._AUTHENTICATION
        assert not caught.value.retriable
        shown = f"{caught.value}{caplog.text}{kafka!r}{kafka.settings!r}{kafka.stats()}"
        assert who["password"] not in shown


def test_a_client_gets_in_by_its_certificate(secure_kafka: SecureKafka) -> None:
    own = str(secure_kafka.certificates.client)

    with client(secure_kafka, "SSL", certificate=own, key=own) as kafka:
        round_trip(kafka)


def test_a_key_may_have_a_password(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    own = secure_kafka.certificates.client
    key = tmp_path / "key.pem"
    key.write_bytes(locked(own.read_bytes(), "secret"))

    with client(
        secure_kafka, "SSL", certificate=str(own), key=str(key), key_password="secret"
    ) as kafka:
        assert kafka.ping() < DEADLINE


def test_without_a_certificate_of_theirs_nobody_gets_in(secure_kafka: SecureKafka) -> None:
    strange = str(secure_kafka.certificates.stranger)
    for who in ({}, {"certificate": strange, "key": strange}):
        with (
            client(secure_kafka, "SSL", **who) as kafka,
            pytest.raises(ConnectionFailed, match="no broker of"),
        ):
            kafka.ping()


def test_a_broker_of_an_unknown_authority_is_not_trusted(secure_kafka: SecureKafka) -> None:
    other = str(secure_kafka.certificates.other_ca)

    with (
        client(secure_kafka, "SASL_SSL", mechanism="PLAIN", ca=other, **ALICE) as kafka,
        pytest.raises(ConnectionFailed, match=r"certificate verify failed.*check ca") as caught,
    ):
        kafka.ping()

    assert (caught.value.code, caught.value.retriable) == (KafkaError._SSL, False)


def test_a_broker_of_another_name_is_not_trusted(secure_kafka: SecureKafka) -> None:
    elsewhere = secure_kafka.addresses["SASL_SSL"].replace("127.0.0.1", "localhost")

    with (
        client(secure_kafka, "SASL_SSL", elsewhere, mechanism="PLAIN", **ALICE) as kafka,
        pytest.raises(ConnectionFailed, match="host name in the broker's certificate") as caught,
    ):
        kafka.ping()

    assert caught.value.code == KafkaError._SSL


def test_a_broker_whose_certificate_has_expired_is_not_trusted_and_told_nothing(
    tmp_path: Path,
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    authority, said = trustme.CA(), list[bytes]()
    expired = authority.issue_cert("127.0.0.1", not_after=yesterday)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired.configure_cert(context)

    class Broker(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                said.append(client.recv(1))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        security = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "ca": str(tmp_path / "ca.pem")}
        address = f"127.0.0.1:{server.server_address[1]}"
        settings = {"brokers": address, "security": {**security, **ALICE}}
        with (
            Kafka(KafkaSettings.model_validate(settings)) as kafka,
            pytest.raises(ConnectionFailed, match="broker's certificate and its dates") as caught,
        ):
            kafka.ping()
        server.shutdown()

    assert caught.value.code == KafkaError._SSL
    assert b"".join(said) == b""


def test_whoever_skips_the_check_is_warned_each_time(
    secure_kafka: SecureKafka, caplog: pytest.LogCaptureFixture
) -> None:
    other = str(secure_kafka.certificates.other_ca)
    for _ in range(2):
        caplog.clear()
        with client(
            secure_kafka, "SASL_SSL", mechanism="PLAIN", ca=other, skip_verify=True, **ALICE
        ) as kafka:
            assert kafka.ping() < DEADLINE

        assert "kafka.security.skip_verify is on: whoever answers" in caplog.text


def test_tokens_of_a_function_let_every_client_in(secure_kafka: SecureKafka) -> None:
    where = settings(
        secure_kafka, "SASL_SSL", mechanism="OAUTHBEARER", ca=str(secure_kafka.certificates.ca)
    )

    with Kafka(where, token=lambda: jwt("alice", 3600)) as kafka:
        round_trip(kafka)


def gets_in(kafka: Kafka) -> bool:
    try:
        kafka.ping()
    except ConnectionFailed:
        return False
    return True


def test_a_function_that_has_no_token_is_asked_again(
    secure_kafka: SecureKafka, caplog: pytest.LogCaptureFixture
) -> None:
    asked = list[int]()

    def token() -> Token:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("no token today")
        return jwt("alice", 3600)

    where = settings(
        secure_kafka, "SASL_SSL", mechanism="OAUTHBEARER", ca=str(secure_kafka.certificates.ca)
    )
    with caplog.at_level(logging.ERROR), Kafka(where, token=token) as kafka:
        until(lambda: gets_in(kafka))

    assert len(asked) > 1
    assert "no token for OAUTHBEARER: OSError: no token today" in caplog.text


def test_tokens_of_an_openid_connect_server_let_every_client_in(secure_kafka: SecureKafka) -> None:
    with token_server() as (endpoint, requests):
        oauth = {
            "endpoint": endpoint,
            "client_id": "worker",
            "client_secret": "secret",
            "scope": "kafka",
        }
        with client(secure_kafka, "SASL_SSL", mechanism="OAUTHBEARER", oauth=oauth) as kafka:
            round_trip(kafka)

    basic = base64.b64encode(b"worker:secret").decode()
    assert all(f"Basic {basic}" in request and "scope=kafka" in request for request in requests)
    assert requests


def test_files_that_cannot_be_read_are_named_before_anything_is_sent(
    secure_kafka: SecureKafka,
) -> None:
    with (
        client(secure_kafka, "SASL_SSL", mechanism="PLAIN", ca="/no/such/file", **ALICE) as kafka,
        pytest.raises(ConnectionFailed, match=r"ssl\.ca\.location failed.*check the files"),
    ):
        kafka.ping()


def test_tokens_and_settings_that_do_not_fit_are_refused(secure_kafka: SecureKafka) -> None:
    oauth = settings(secure_kafka, "SASL_SSL", mechanism="OAUTHBEARER")

    with pytest.raises(ValueError, match=r"OAUTHBEARER needs security\.oauth in the settings, or"):
        Kafka(oauth)
    with pytest.raises(ValueError, match="token is for the mechanism OAUTHBEARER"):
        Kafka("127.0.0.1:1", token=lambda: jwt("alice", 1))
