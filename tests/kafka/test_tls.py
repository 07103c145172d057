"""What the client agrees to with whoever answers over TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.secure import Certificates
from worker.kafka import config
from worker.settings import KafkaSettings
from worker.settings.librdkafka import refusal

SUITES = "ssl.cipher.suites"


def agreed(folder: Path, latest: ssl.TLSVersion) -> str | None:
    """The version that a server has agreed on with the client which knows none later than this."""
    certificates = Certificates(folder).issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.broker)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = latest
    found = list[str | None]()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    found.append(secured.version())
            except OSError:
                found.append(None)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        kafka = KafkaSettings.model_validate(
            {
                "brokers": f"127.0.0.1:{listener.getsockname()[1]}",
                "security": {"protocol": "SSL", "ca": str(certificates.ca)},
            }
        )
        client = AdminClient({**config.common(kafka), "log_level": 0})
        with pytest.raises(KafkaException):
            client.list_topics(timeout=5)
        thread.join()
    return found[0]


def test_a_broker_that_knows_tls_1_2_is_talked_to(tmp_path: Path) -> None:
    assert agreed(tmp_path, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_a_broker_that_knows_nothing_later_than_tls_1_1_is_not(tmp_path: Path) -> None:
    assert agreed(tmp_path, ssl.TLSVersion.TLSv1_1) is None


def test_only_suites_that_encrypt_and_prove_who_the_broker_is_are_legal() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:eNULL:@SECLEVEL=0")
    suites = {
        one["name"]: one["description"]
        for one in context.get_ciphers()
        if one["protocol"] != "TLSv1.3"  # which this property does not choose
    }
    weak = {name for name, text in suites.items() if "Au=None" in text or "Enc=None" in text}

    assert {name for name in suites if refusal(SUITES, name) is not None} == weak
    assert len(suites) > len(weak) > 3


@pytest.mark.parametrize(
    "value",
    [
        "ALL",
        "DEFAULT@SECLEVEL=0",
        "aNULL",
        "ECDHE-RSA-AES256-GCM-SHA384:ALL",
        "ECDHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0",
        "ECDHE-RSA-AES256-GCM-SHA384,ADH-AES256-SHA",
        "",
    ],
)
def test_no_word_for_many_suites_is_legal(value: str) -> None:
    found = refusal(SUITES, value)

    assert found is not None
    assert "such as ECDHE-RSA-AES256-GCM-SHA384" in found
