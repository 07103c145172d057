"""Consumer groups as an operator sees them, from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError

from worker.errors import ClientError
from worker.kafka import outside
from worker.kafka.asking import Asking
from worker.kafka.failures import failure
from worker.kafka.partitions import sources
from worker.ports import Offsets
from worker.types import Commit, TopicPartition


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group of a cluster, in Kafka's words."""

    name: str
    state: str
    protocol: str
    """`classic`, or `consumer` (KIP-848)."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a group, and what it has."""

    id: str
    instance: str | None
    client: str
    host: str
    partitions: Sequence[TopicPartition]


@dataclass(frozen=True, slots=True)
class GroupDetails:
    """A group with its members."""

    name: str
    state: str
    protocol: str
    assignor: str
    coordinator: str
    members: Sequence[GroupMember]


class Groups:
    """The groups of a cluster, none of which is joined.

    Every method raises `BrokersUnreachable` or another `ClientError`.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def all(self) -> Sequence[GroupLine]:
        """Every group that this user may see, by name."""
        self._asking.cluster()  # a client without brokers would not say so
        found = self._asking.answers(
            lambda: {
                "": self._asking.client.list_consumer_groups(request_timeout=self._asking.timeout)
            }
        )[""]
        if found.errors:
            raise failure(found.errors[0].args[0])
        lines = (GroupLine(one.group_id, _word(one.state), _word(one.type)) for one in found.valid)
        return sorted(lines, key=lambda line: line.name)

    def describe(self, group: str) -> GroupDetails | None:
        """A group with its members; None where there is none of this name."""
        try:
            found = self._asking.group(group)
        except ClientError as error:
            if error.code == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            raise
        if _word(found.state) == "dead":
            return None
        return GroupDetails(
            group,
            _word(found.state),
            _word(found.type),
            found.partition_assignor or "",
            f"{found.coordinator.host}:{found.coordinator.port}" if found.coordinator else "",
            [
                GroupMember(
                    one.member_id,
                    one.group_instance_id,
                    one.client_id,
                    one.host.removeprefix("/"),
                    sorted(sources(one.assignment.topic_partitions)),
                )
                for one in found.members
            ],
        )

    def committed(self, group: str) -> Mapping[TopicPartition, Commit]:
        """All that a group has committed, of topics that this user may see."""
        outside.require_shown(self._asking, group)
        every = [
            TopicPartition(topic, number)
            for topic, found in self._asking.cluster().topics.items()
            for number in found.partitions
        ]
        return outside.committed(self._asking, group, every)

    def reset(self, group: str, offsets: Offsets) -> Mapping[TopicPartition, str | None]:
        """Commit these offsets with nothing beside them, in the place of a group without members.

        Returns, by partition, why it was refused; None where it was not. Raises `ClientError` where
        the group has members.
        """
        plain = {source: Commit(offset) for source, offset in offsets.items()}
        try:
            return outside.commit(self._asking, group, plain)
        except ClientError as error:
            if error.code in _ALIVE:
                raise has_members(group, error.code) from error
            raise


_ALIVE: Final = {
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.STALE_MEMBER_EPOCH,
}
"""What a group with members answers to who commits from outside."""


def has_members(group: str, code: int | None = None, text: str = "") -> ClientError:
    """Why the offsets of a group stay as they are."""
    return ClientError(
        f"group {group} has members{text}, which would go on from where they are",
        code=code,
        advice="stop its workers; one that was killed is a member until its session is over",
    )


def _word(value: Any) -> str:
    """One of Kafka's words in lower case, such as `stable`."""
    return "unknown" if value is None else str(value.name).lower()
