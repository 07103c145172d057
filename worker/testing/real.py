"""A real Apache Kafka as tests use it: topics of their own, their records, what is committed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Self

from worker.kafka.admin import KafkaAdmin
from worker.kafka.client import Kafka
from worker.kafka.groups import Groups
from worker.kafka.reader import Reader
from worker.kafka.topics import TopicConfig
from worker.settings import KafkaSettings
from worker.types import Message, TopicPartition

PARTITIONS: Final = 4
"""Partitions of a topic for which no number is given, as in the memory broker."""
ANSWERS_WITHIN: Final = 5.0
"""Seconds in which a cluster has to say that it is there."""

Wanted = Callable[[Message], bool]


def is_any(_: Message) -> bool:
    """Whether a record is one."""
    return True


class KafkaBroker:
    """A real Apache Kafka that tests share, as a context manager.

    `client` sends and manages topics. Those that `topic` has made are deleted in the end, since the
    cluster may be somebody else's.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        """Its bootstrap servers, such as "127.0.0.1:20001"; what `KAFKA_BROKERS` is to be."""
        self.client = Kafka(address)
        self._settings = KafkaSettings.model_validate({"brokers": address})
        self._made: list[str] = []

    def __enter__(self) -> Self:
        """Raises `BrokersUnreachable`."""
        KafkaAdmin(self._settings, ANSWERS_WITHIN).asking.cluster()
        return self

    def __exit__(self, *_: object) -> None:
        with self.client:
            deletions = self.client.admin.delete_topics(self._made) if self._made else {}
            for deletion in deletions.values():
                deletion.exception()  # of one that a test has deleted: it is not there

    def unique(self, name: str) -> str:
        """A name that no other test has, for a topic, a group or a pipeline."""
        return f"{name}-{uuid.uuid4().hex[:8]}"

    def topic(
        self,
        name: str = "topic",
        partitions: int = PARTITIONS,
        config: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Make a topic that no other test has; returns its name, which begins with `name`."""
        made = self.unique(name)
        self.client.create_topic(made, TopicConfig(partitions, config=config))
        self._made.append(made)
        return made

    def records(self, topic: str) -> list[Message]:
        """All committed records of a topic, by partition and offset."""
        with Reader(self._settings) as reader:
            return list(reader.records(topic))

    def wait_for(
        self, topic: str, count: int = 1, *, where: Wanted = is_any, timeout: float = 30.0
    ) -> list[Message]:
        """The first records of a topic that `where` wants, once there are so many.

        Raises `TimeoutError` with what has come within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        found: list[Message] = []
        with Reader(self._settings) as reader:
            starts = {source: bounds.low for source, bounds in reader.bounds([topic]).items()}
            for message in reader.follow(starts):
                if message is not None and where(message):
                    found.append(message)
                if len(found) == count or time.monotonic() > deadline:
                    break
        if len(found) < count:
            raise TimeoutError(f"{topic} has {found} after {timeout:g} s, not {count} records")
        return found

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """The committed offsets of a group."""
        committed = Groups(KafkaAdmin(self._settings).asking).committed(group)
        return {source: commit.offset for source, commit in committed.items()}
