"""How topics and rights of a cluster are changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (  # not re-exported for type checkers
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewPartitions

from worker.errors import ClientError
from worker.flow.acls import ANYWHERE, EVERYBODY, Acl, Right
from worker.kafka.asking import LOOK_AGAIN_AFTER, Asking

_AUTHORIZER: Final = "authorizer.class.name"
_FILTER: Final[Any] = AclBindingFilter  # its parameters may be None
_WHATEVER: Final[Any] = (ResourceType.ANY, None, ResourcePatternType.ANY)
_HOWEVER: Final[Any] = (AclOperation.ANY, AclPermissionType.ANY)


class Changes:
    """What operators do to a cluster.

    Every method raises `BrokersUnreachable` or another `ClientError`.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def grow(self, topic: str, partitions: int) -> None:
        """Let a topic have so many partitions, and wait until they can be seen."""
        new = [NewPartitions(topic, partitions)]
        answers = self._client.create_partitions(new, request_timeout=self._asking.timeout)
        self._asking.answer(answers[topic], f"Alter on topic {topic}")
        deadline = time.monotonic() + self._asking.timeout
        while len(self._asking.cluster().topics[topic].partitions) < partitions:
            if time.monotonic() > deadline:
                raise ClientError(f"the new partitions of {topic} cannot be seen yet")
            time.sleep(LOOK_AGAIN_AFTER)

    def configure(self, topic: str, values: Mapping[str, str]) -> None:
        """Set these of a topic's settings, and leave the others as they are."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in values.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        (answer,) = self._client.incremental_alter_configs(
            [resource], request_timeout=self._asking.timeout
        ).values()
        self._asking.answer(answer, f"AlterConfigs on topic {topic}")

    def delete(self, topic: str) -> None:
        """Delete a topic with its records, and wait until it is not seen any more."""
        answers = self._client.delete_topics([topic], request_timeout=self._asking.timeout)
        self._asking.answer(answers[topic], f"Delete on topic {topic}")
        deadline = time.monotonic() + self._asking.timeout
        while topic in self._asking.cluster().topics:
            if time.monotonic() > deadline:
                raise ClientError(f"topic {topic} is still seen")
            time.sleep(LOOK_AGAIN_AFTER)

    def acls(self, principal: str) -> Sequence[Acl] | None:
        """The rules for a principal, and for everybody; None where there is no access control."""
        found: list[Acl] = []
        for name in dict.fromkeys((principal, EVERYBODY)):
            wanted = _FILTER(*_WHATEVER, name, None, *_HOWEVER)
            answer = self._client.describe_acls(wanted, request_timeout=self._asking.timeout)
            found += map(_acl, self._asking.answer(answer))
        return found if found or self._has_access_control() else None

    def _has_access_control(self) -> bool:
        """Asked where no rule was told: librdkafka does not say why there is none."""
        answer = self._client.describe_cluster(
            include_authorized_operations=True, request_timeout=self._asking.timeout
        )
        cluster = self._asking.answer(answer)
        if AclOperation.DESCRIBE not in (cluster.authorized_operations or ()):
            how = "grant this user Describe on the cluster"
            raise ClientError("this user may not see rules of access control", advice=how)
        broker = ConfigResource(ConfigResource.Type.BROKER, str(cluster.nodes[0].id))
        (asked,) = self._client.describe_configs(
            [broker], request_timeout=self._asking.timeout
        ).values()
        try:
            return bool(self._asking.answer(asked)[_AUTHORIZER].value)
        except ClientError:  # whoever may not see that is under its control
            return True

    def grant(self, right: Right, principal: str) -> None:
        """Let a principal do something from wherever it connects."""
        binding = AclBinding(
            ResourceType[right.kind],
            right.name,
            ResourcePatternType[right.pattern],
            principal,
            ANYWHERE,
            AclOperation[right.operation],
            AclPermissionType.ALLOW,
        )
        answers = self._client.create_acls([binding], request_timeout=self._asking.timeout)
        self._asking.answer(answers[binding])

    @property
    def _client(self) -> AdminClient:
        return self._asking.client


def _acl(found: AclBinding) -> Acl:
    return Acl(
        ResourceType(found.restype).name,
        found.name,
        ResourcePatternType(found.resource_pattern_type).name,
        AclOperation(found.operation).name,
        found.principal,
        found.permission_type is AclPermissionType.ALLOW,
        found.host,
    )
