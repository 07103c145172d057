"""What a group has committed, asked and changed by a client that is not in it.

By a consumer: an admin client of librdkafka that asks for offsets ends the process where the
coordinator has moved, since it looks for a group that it does not have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException

from worker.errors import ClientError
from worker.kafka.asking import LOOK_AGAIN_AFTER, Asking
from worker.kafka.failures import describe, failure, is_retriable
from worker.kafka.partitions import commits, committable, places
from worker.kafka.reader import outsider
from worker.ports import Commits
from worker.types import Commit, TopicPartition

Answer = TypeVar("Answer")


def committed(
    asking: Asking, group: str, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, Commit]:
    """What a group has committed; where it has not, a partition lacks.

    Raises `BrokersUnreachable` or another `ClientError`.
    """
    if not partitions:
        return {}
    with _beside(asking, group) as client:
        found = _asked(
            asking,
            lambda left: client.committed(places(partitions), left),
            f"Describe on group {group}",
        )
    errors = [one.error for one in found if one.error is not None]
    if errors:
        raise failure(errors[0])
    return {one: made for one, made in commits(found).items() if made.offset >= 0}


def commit(asking: Asking, group: str, wanted: Commits) -> Mapping[TopicPartition, str | None]:
    """Commit in the place of a group; returns by partition why that was refused, or None.

    Raises `BrokersUnreachable` or another `ClientError`, as where the group has members.
    """
    if not wanted:
        return {}
    with _beside(asking, group) as client:
        found = _asked(
            asking,
            lambda _left: client.commit(offsets=committable(wanted), asynchronous=False),
            f"Read on group {group}",
        )
    return {
        TopicPartition(one.topic, one.partition): None if one.error is None else describe(one.error)
        for one in found
    }


@contextmanager
def _beside(asking: Asking, group: str) -> Iterator[Client]:
    """A consumer with the group's name, once it is known that it will be answered."""
    require_shown(asking, group)
    client = outsider(asking.kafka, group)
    try:
        yield client
    finally:
        client.close()


def require_shown(asking: Asking, group: str) -> None:
    """Raise `ClientError` for a group that this user may not see: a consumer would only wait."""
    try:
        asking.group(group)
    except ClientError as error:
        if error.code != KafkaError.GROUP_ID_NOT_FOUND:
            raise


def _asked(asking: Asking, ask: Callable[[float], Answer], right: str) -> Answer:
    """Ask, and ask again while the coordinator is being found."""
    deadline = time.monotonic() + asking.timeout
    while True:
        try:
            return ask(max(LOOK_AGAIN_AFTER, deadline - time.monotonic()))
        except KafkaException as error:
            if not is_retriable(error.args[0]):
                raise failure(error.args[0], right) from error
            if time.monotonic() >= deadline:
                raise asking.unreachable(error.args[0]) from error
        time.sleep(LOOK_AGAIN_AFTER)
