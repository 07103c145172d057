"""A real Apache Kafka with SASL and TLS, and what clients need to connect to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from worker.kafka.broker import KafkaCluster
from worker.kafka.listeners import BrokerSecurity

USERS = {
    "alice": "alice-secret",
    "bob.of_the-2nd": "all ASCII: !#$%&'()*+-./;<=>?@[]^_`{|}~",
}


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files in a folder; those of brokers and clients hold key and chain."""

    folder: Path

    @property
    def ca(self) -> Path:
        """Who has signed the broker and the client."""
        return self.folder / "ca.pem"

    @property
    def broker(self) -> Path:
        return self.folder / "broker.pem"

    @property
    def client(self) -> Path:
        return self.folder / "client.pem"

    @property
    def other_ca(self) -> Path:
        """Who has signed the stranger and nobody else."""
        return self.folder / "other-ca.pem"

    @property
    def stranger(self) -> Path:
        """A client whom the broker does not trust."""
        return self.folder / "stranger.pem"

    def issue(self) -> Self:
        """Write the files."""
        ours, others = trustme.CA(), trustme.CA()
        ours.cert_pem.write_to_path(self.ca)
        others.cert_pem.write_to_path(self.other_ca)
        self.broker.write_bytes(pem(ours.issue_cert("127.0.0.1")))
        self.client.write_bytes(pem(ours.issue_cert("client.example")))
        self.stranger.write_bytes(pem(others.issue_cert("client.example")))
        return self


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """Where a secure broker is, by the names of its listeners, with `USERS` as its users."""

    addresses: Mapping[str, str]
    certificates: Certificates

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `running_secure_kafka` yields."""
        found = json.loads(text)
        return cls(found["addresses"], Certificates(Path(found["certificates"])))

    def client(self, listener: str) -> dict[str, str | int | float | bool]:
        """What a client of a listener is configured with, but for who it is."""
        tls = {"ssl.ca.location": str(self.certificates.ca)} if "SSL" in listener else {}
        return {
            "bootstrap.servers": self.addresses[listener],
            "security.protocol": listener,
            "log_level": 0,
            **tls,
        }


@contextmanager
def running_secure_kafka(folder: Path) -> Iterator[str]:
    """Yield a broker that ends with the block, as a text for `SecureKafka.parse`.

    Its certificates go to `folder`. Raises as `KafkaCluster.start` does.
    """
    certificates = Certificates(folder).issue()
    security = BrokerSecurity(USERS, certificates.broker, certificates.ca)
    with KafkaCluster(heap="512m", security=security) as cluster:
        listeners = ("PLAINTEXT", *security.listeners)
        addresses = {listener: cluster.address_of(listener) for listener in listeners}
        yield json.dumps({"addresses": addresses, "certificates": str(folder)})


def locked(pem: bytes, password: str) -> bytes:
    """The private key of a PEM file, encrypted."""
    key = load_pem_private_key(pem, password=None)
    encryption = BestAvailableEncryption(password.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def pem(issued: trustme.LeafCert) -> bytes:
    """Key and chain, the key as PKCS #8: Kafka reads no other form."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    chain = b"".join(certificate.bytes() for certificate in issued.cert_chain_pems)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain
