"""Each secure listener of a real broker lets the right client in, and no other."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.console import CONSUMER, FIRST, PRODUCER
from tests.relay import Relay
from tests.secure import USERS, Certificates, SecureKafka
from worker.kafka.broker import KafkaCluster
from worker.kafka.java import find_kafka
from worker.kafka.listeners import BrokerSecurity
from worker.kafka.sockets import free_ports

DEADLINE = 60.0

REFUSED_BY_TLS = {KafkaError._SSL, KafkaError._TRANSPORT}
"""In TLS 1.3 a client learns what became of its certificate only after the handshake."""

UNANSWERED = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT}

kafka = pytest.mark.kafka
with_sasl = pytest.mark.parametrize("listener", ["SASL_PLAINTEXT", "SASL_SSL"])
with_tls = pytest.mark.parametrize("listener", ["SASL_SSL", "SSL"])
with_password = pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[KafkaCluster]:
    with KafkaCluster(3, security=BrokerSecurity(USERS)) as cluster:
        yield cluster


@kafka
@with_sasl
@with_password
@pytest.mark.parametrize("user", USERS)
def test_a_user_with_the_right_password_is_let_in(
    secure_kafka: SecureKafka, listener: str, mechanism: str, user: str
) -> None:
    client = secure_kafka.client(listener) | password(mechanism, user, USERS[user])

    assert brokers(client) == {secure_kafka.addresses[listener]}


@kafka
@with_sasl
@with_password
def test_a_wrong_password_is_refused(
    secure_kafka: SecureKafka, listener: str, mechanism: str
) -> None:
    client = secure_kafka.client(listener) | password(mechanism, "alice", "a guess")

    assert refusal(client) == KafkaError._AUTHENTICATION


@kafka
@with_sasl
@with_password
def test_a_user_that_is_not_known_is_refused(
    secure_kafka: SecureKafka, listener: str, mechanism: str
) -> None:
    client = secure_kafka.client(listener) | password(mechanism, "mallory", USERS["alice"])

    assert refusal(client) == KafkaError._AUTHENTICATION


@kafka
@with_sasl
def test_an_unsecured_token_is_let_in(secure_kafka: SecureKafka, listener: str) -> None:
    client = secure_kafka.client(listener) | token(expires=time.time() + 3600)

    assert brokers(client) == {secure_kafka.addresses[listener]}


@kafka
@with_sasl
def test_a_token_that_has_expired_is_refused(secure_kafka: SecureKafka, listener: str) -> None:
    client = secure_kafka.client(listener) | token(expires=time.time() - 3600)

    assert refusal(client) == KafkaError._AUTHENTICATION


@kafka
def test_a_client_with_a_certificate_is_let_in(secure_kafka: SecureKafka) -> None:
    client = secure_kafka.client("SSL") | certificate(secure_kafka.certificates.client)

    assert brokers(client) == {secure_kafka.addresses["SSL"]}


@kafka
def test_a_client_without_a_certificate_is_refused(secure_kafka: SecureKafka) -> None:
    assert refusal(secure_kafka.client("SSL")) in REFUSED_BY_TLS


@kafka
def test_a_client_with_a_certificate_that_others_have_signed_is_refused(
    secure_kafka: SecureKafka,
) -> None:
    client = secure_kafka.client("SSL") | certificate(secure_kafka.certificates.stranger)

    assert refusal(client) in REFUSED_BY_TLS


@kafka
@with_tls
def test_a_client_that_trusts_others_refuses_the_broker(
    secure_kafka: SecureKafka, listener: str
) -> None:
    known = password("PLAIN", "alice", USERS["alice"]) | certificate(
        secure_kafka.certificates.client
    )
    wrong_ca = {"ssl.ca.location": str(secure_kafka.certificates.other_ca)}

    assert KafkaError._SSL in refusals(secure_kafka.client(listener) | known | wrong_ca)


@kafka
def test_no_listener_is_open_to_other_machines(secure_kafka: SecureKafka) -> None:
    assert len(secure_kafka.addresses) == 4
    for address in secure_kafka.addresses.values():
        port = int(address.split(":")[1])
        with pytest.raises(OSError, match=r"refused|assign"):
            socket.create_connection(("127.0.0.2", port), timeout=5).close()


@kafka
def test_kafkas_own_console_tools_round_trip_a_record_over_sasl_and_tls(
    secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    topic = create_topic(secure_kafka.client("PLAINTEXT"))
    config = tmp_path / "client.properties"
    config.write_text(java_properties(secure_kafka, "alice"))
    there = ["--bootstrap-server", secure_kafka.addresses["SASL_SSL"], "--topic", topic]
    write = [*there, "--producer.config", str(config), "--property", "parse.key=true"]
    read = [*there, "--consumer.config", str(config), "--property", "print.key=true", *FIRST]

    written = find_kafka().tool(PRODUCER, write, input=b"SK1414\tARN\n")
    found = find_kafka().tool(CONSUMER, read)

    assert (written.returncode, written.stderr) == (0, b"")
    assert (found.returncode, found.stdout) == (0, b"SK1414\tARN\n")


@kafka
def test_every_node_of_a_cluster_has_the_listeners_and_knows_the_users(
    three_nodes: KafkaCluster,
) -> None:
    addresses = three_nodes.address_of("SASL_PLAINTEXT").split(",")

    for address in addresses:
        assert brokers(sasl_plaintext(address)) == set(addresses)


@kafka
def test_a_node_keeps_its_secure_port_when_it_is_started_again(three_nodes: KafkaCluster) -> None:
    address = three_nodes.address_of("SASL_PLAINTEXT").split(",")[0]

    three_nodes.stop_node(0)
    three_nodes.start_node(0)

    assert address in brokers(sasl_plaintext(address))


@kafka
def test_passwords_in_the_configuration_are_for_the_owners_eyes(three_nodes: KafkaCluster) -> None:
    config = three_nodes.logs(0).with_name("server.properties")

    assert USERS["alice"] in config.read_text()
    assert config.stat().st_mode & 0o077 == 0


def test_a_listener_that_is_not_offered_is_named_with_those_that_are() -> None:
    plain = KafkaCluster()
    without_tls = KafkaCluster(security=BrokerSecurity(USERS))

    assert plain.address_of("PLAINTEXT") == plain.address
    with pytest.raises(ValueError, match=r"no listener SASL_PLAINTEXT, only PLAINTEXT$"):
        plain.address_of("SASL_PLAINTEXT")
    with pytest.raises(ValueError, match=r"no listener SSL, only PLAINTEXT, SASL_PLAINTEXT$"):
        without_tls.address_of("SSL")
    with pytest.raises(ValueError, match="no listener CONTROLLER"):
        plain.address_of("CONTROLLER")


@kafka
def test_clients_of_the_relayed_listener_come_to_the_relay_and_others_do_not() -> None:
    (port,) = free_ports(1, taken=())
    cluster = KafkaCluster(relays=[port])
    with cluster, Relay(cluster.port_of(0, "RELAYED"), at=port) as relay:
        relayed = {"bootstrap.servers": cluster.address_of("RELAYED")}

        assert brokers(relayed) == {f"127.0.0.1:{port}"}
        with relay.answers_kept_back(), pytest.raises(KafkaException) as silent:
            AdminClient({**relayed}).list_topics(timeout=1)
        assert silent.value.args[0].code() in UNANSWERED
        assert brokers({"bootstrap.servers": cluster.address}) == {cluster.address}


@kafka
def test_clients_of_the_relayed_listener_show_a_password_where_there_are_users() -> None:
    (port,) = free_ports(1, taken=())
    user, secret = next(iter(USERS.items()))
    cluster = KafkaCluster(relays=[port], security=BrokerSecurity(USERS))
    with cluster, Relay(cluster.port_of(0, "RELAYED"), at=port):
        relayed = {"bootstrap.servers": cluster.address_of("RELAYED")}

        shown = {"security.protocol": "SASL_PLAINTEXT"} | password("SCRAM-SHA-512", user, secret)
        assert brokers(relayed | shown) == {f"127.0.0.1:{port}"}
        with pytest.raises(KafkaException):
            AdminClient({**relayed}).list_topics(timeout=2)


@kafka
def test_clients_of_the_relayed_listener_speak_tls_where_there_are_certificates(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1, taken=())
    user, secret = next(iter(USERS.items()))
    files = Certificates(tmp_path).issue()
    cluster = KafkaCluster(relays=[port], security=BrokerSecurity(USERS, files.broker, files.ca))
    with cluster, Relay(cluster.port_of(0, "RELAYED"), at=port):
        relayed = {"bootstrap.servers": cluster.address_of("RELAYED")}
        shown = password("SCRAM-SHA-512", user, secret)
        tls = {"security.protocol": "SASL_SSL", "ssl.ca.location": str(files.ca)}

        assert brokers(relayed | shown | tls) == {f"127.0.0.1:{port}"}
        with pytest.raises(KafkaException):
            AdminClient(relayed | shown | {"security.protocol": "SASL_PLAINTEXT"}).list_topics(
                timeout=2
            )


def test_relays_are_as_many_as_nodes() -> None:
    with pytest.raises(ValueError, match="relays must name 3 ports, one a node, not 1"):
        KafkaCluster(3, relays=[20_001])


def test_listeners_and_nodes_share_no_port() -> None:
    cluster = KafkaCluster(3, security=BrokerSecurity(USERS))

    ports = (cluster.address + "," + cluster.address_of("SASL_PLAINTEXT")).split(",")

    assert len(set(ports)) == 6


@pytest.mark.parametrize(
    ("user", "password", "complaint"),
    [
        ("", "secret", "user '' must be"),
        ("two words", "secret", "user 'two words' must be"),
        ("alice", "", "password of alice must be"),
        ("alice", "a,b", "without quote, comma and backslash"),
        ("alice", 'a"b', "without quote, comma and backslash"),
        ("alice", "a\\b", "without quote, comma and backslash"),
        ("alice", "a\nb", "printable ASCII"),
        ("alice", "blåbær", "printable ASCII"),
    ],
)
def test_a_user_that_kafka_cannot_be_told_is_refused(
    user: str, password: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        BrokerSecurity({user: password})


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        BrokerSecurity(certificate=tmp_path / "broker.pem")
    with pytest.raises(ValueError, match="together"):
        BrokerSecurity(ca=tmp_path / "ca.pem")


def test_passwords_are_not_shown_by_a_repr() -> None:
    assert USERS["alice"] not in repr(BrokerSecurity(USERS))


def sasl_plaintext(address: str) -> dict[str, Any]:
    there = {"bootstrap.servers": address, "security.protocol": "SASL_PLAINTEXT", "log_level": 0}
    return there | password("SCRAM-SHA-512", "alice", USERS["alice"])


def password(mechanism: str, user: str, secret: str) -> dict[str, Any]:
    return {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": secret}


def certificate(file: Path) -> dict[str, Any]:
    return {"ssl.certificate.location": str(file), "ssl.key.location": str(file)}


def token(expires: float) -> dict[str, Any]:
    """A token that the client believes in for an hour, whatever it says itself."""
    claims = {"sub": "alice", "iat": expires - 7200, "exp": expires}
    text = f"{encoded({'alg': 'none'})}.{encoded(claims)}."

    def fetch(_: str) -> tuple[str, float]:
        return text, time.time() + 3600

    return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": fetch}


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def java_properties(secure: SecureKafka, user: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return (
        "security.protocol=SASL_SSL\n"
        "sasl.mechanism=SCRAM-SHA-512\n"
        f'sasl.jaas.config={module} required username="{user}" password="{USERS[user]}";\n'
        "ssl.truststore.type=PEM\n"
        f"ssl.truststore.location={secure.certificates.ca}\n"
    )


def create_topic(client: dict[str, Any]) -> str:
    topic = f"flights-{uuid4().hex}"
    admin = AdminClient(client)
    admin.create_topics([NewTopic(topic, 1)])[topic].result(DEADLINE)
    return topic


def brokers(client: dict[str, Any]) -> set[str]:
    """Addresses of the brokers that a client is told of once it is let in."""
    admin = AdminClient(client)
    admin.poll(0)
    found = admin.list_topics(timeout=DEADLINE).brokers.values()
    return {f"{broker.host}:{broker.port}" for broker in found}


def refusal(client: dict[str, Any]) -> int:
    """The code of the first error that a client is given when it is not let in."""
    return next(refusals(client))


def refusals(client: dict[str, Any]) -> Iterator[int]:
    """The codes of all errors that a client is given in time, as it tries again and again.

    A connection may also be cut before its handshake has come to an end.
    """
    errors: list[KafkaError] = []
    admin = AdminClient(client | {"error_cb": errors.append})
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        admin.poll(0.1)
        while errors:
            yield errors.pop(0).code()
