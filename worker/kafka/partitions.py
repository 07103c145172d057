"""The client's lists of partitions, from and to the worker's own."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition as ClientPartition

from worker.kafka.failures import describe
from worker.ports import Commits
from worker.types import Commit, TopicPartition


def places(partitions: Iterable[TopicPartition], offset: int = -1001) -> list[ClientPartition]:
    """The partitions as the client takes them, with an offset or none."""
    return [ClientPartition(*partition, offset) for partition in partitions]


def committable(commits: Commits) -> list[ClientPartition]:
    """What is to be committed as the client takes it."""
    return [
        ClientPartition(*source, commit.offset, commit.metadata)
        for source, commit in commits.items()
    ]


def sources(partitions: Iterable[ClientPartition]) -> list[TopicPartition]:
    """The partitions as the worker names them."""
    return [TopicPartition(partition.topic, partition.partition) for partition in partitions]


def offsets(partitions: Iterable[ClientPartition]) -> dict[TopicPartition, int]:
    """The offset of each partition; negative where the client has none."""
    return {TopicPartition(p.topic, p.partition): p.offset for p in partitions}


def commits(partitions: Iterable[ClientPartition]) -> dict[TopicPartition, Commit]:
    """The offset of each partition and what is noted beside it."""
    return {
        TopicPartition(p.topic, p.partition): Commit(p.offset, p.metadata or "") for p in partitions
    }


def errors(partitions: Iterable[ClientPartition]) -> str | None:
    """One line about the partitions that have an error; None when all are fine."""
    failed = [
        f"{partition.topic}[{partition.partition}]: {describe(partition.error)}"
        for partition in partitions
        if partition.error is not None and not is_nothing_to_commit(partition.error)
    ]
    return ", ".join(failed) or None


def is_nothing_to_commit(error: KafkaError) -> bool:
    """Whether this is no failure: what was to be committed had been already."""
    return error.code() == KafkaError._NO_OFFSET  # noqa: SLF001 - a public constant
