"""A broker with access control."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (  # not re-exported for type checkers
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.system.rig import Kafka
from worker.kafka.broker import KafkaCluster
from worker.kafka.listeners import BrokerSecurity

LONGEST_TRANSACTION = 60
"""Seconds that a transaction may last there."""
USE = (AclOperation.DESCRIBE, AclOperation.READ, AclOperation.WRITE)


class Guarded:
    """A broker that lets its user do what is granted only, and everybody everything over `kafka`.

    That is the listener without SASL.
    """

    user, password = "bob", "bob-secret"

    def __init__(self, plain: str, secure: str) -> None:
        self.kafka = Kafka(plain)
        self.settings = {
            "brokers": secure,
            "security": {
                "protocol": "SASL_PLAINTEXT",
                "mechanism": "SCRAM-SHA-512",
                "username": self.user,
                "password": self.password,
            },
        }

    def grant(self, prefix: str, kind: ResourceType, operations: Sequence[AclOperation]) -> None:
        """Allow operations on whatever begins so."""
        bindings = [
            AclBinding(
                kind,
                prefix,
                ResourcePatternType.PREFIXED,
                f"User:{self.user}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        client = AdminClient({"bootstrap.servers": self.kafka.address})
        for future in client.create_acls(bindings).values():
            future.result(30)

    def revoke(self, prefix: str, kind: ResourceType) -> None:
        """Allow nothing of whatever begins so."""
        granted = AclBindingFilter(
            kind,
            prefix,
            ResourcePatternType.PREFIXED,
            f"User:{self.user}",
            "*",
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        client = AdminClient({"bootstrap.servers": self.kafka.address})
        for future in client.delete_acls([granted]).values():
            future.result(30)


@contextmanager
def running_guarded_kafka() -> Iterator[str]:
    """Yield the addresses of both listeners of a broker with access control."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "transaction.max.timeout.ms": f"{LONGEST_TRANSACTION}000",
    }
    security = BrokerSecurity({Guarded.user: Guarded.password})
    with KafkaCluster(heap="512m", properties=properties, security=security) as cluster:
        yield f"{cluster.address} {cluster.address_of('SASL_PLAINTEXT')}"
