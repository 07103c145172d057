"""What a consumer asks the cluster about offsets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient

from worker.errors import ClientError, ClientFatal
from worker.kafka.asking import described
from worker.kafka.failures import failure, is_retriable, made
from worker.kafka.logs import ClientLog
from worker.kafka.partitions import commits, errors, offsets, places
from worker.ports import Offsets, Place
from worker.settings.patterns import reads
from worker.types import Commit, TopicPartition

ASK_TIMEOUT: Final = 5.0
"""Seconds for one question."""
ASSIGN_TIMEOUT: Final = 20.0
"""Seconds for learning the committed offsets of an assignment, all attempts together."""
ASK_AGAIN_AFTER: Final = 0.2

_OLDEST: Final = -2
_NEWEST: Final = -1
"""Timestamps that stand for the ends of a partition in Kafka's ListOffsets."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def asked(function: Callable[..., Any], *args: Any) -> Any:
    """Call the client; its exceptions become errors of ours."""
    try:
        return function(*args)
    except KafkaException as error:
        raise failure(error.args[0]) from error


def find(client: Client, partitions: Sequence[TopicPartition], place: Place) -> Offsets:
    """The offsets of a place; raises `ClientError` when the cluster does not say.

    The end is that of the client's isolation: of the committed records, or of all. A time beyond
    the last record is the end.
    """
    if not isinstance(place, datetime):
        return _offsets_at(client, partitions, _OLDEST if place == "oldest" else _NEWEST)
    found = _offsets_at(client, partitions, milliseconds(place))
    beyond = [partition for partition, offset in found.items() if offset < 0]
    return {**found, **_offsets_at(client, beyond, _NEWEST)}


def find_anew(
    properties: Mapping[str, Any],
    log: logging.Logger,
    partitions: Sequence[TopicPartition],
    place: Place,
) -> Offsets:
    """The same, by a client of its own: it has to ask which partitions there are."""
    client = made(lambda: Client(_quiet(properties), logger=ClientLog(log)))
    try:
        return find(client, partitions, place)
    finally:
        client.close()


def committed(
    client: Client, partitions: list[ClientPartition], timeout: float
) -> dict[TopicPartition, Commit | None]:
    """What is committed, None where nothing is; raises `ClientError` without an answer."""
    if not partitions:
        return {}
    answers = asked(client.committed, partitions, timeout)
    problem = errors(answers)
    if problem is not None:
        raise ClientError(problem)
    found = commits(answers).items()
    return {source: commit if commit.offset >= 0 else None for source, commit in found}


def committed_at_last(
    client: Client, partitions: list[ClientPartition], log: logging.Logger
) -> dict[TopicPartition, Commit | None]:
    """What is committed, as `committed`; raises `ClientFatal` after some attempts."""
    deadline = time.monotonic() + ASSIGN_TIMEOUT - ASK_TIMEOUT
    while True:
        try:
            return committed(client, partitions, ASK_TIMEOUT)
        except ClientError as error:
            if time.monotonic() > deadline:
                raise ClientFatal(f"the committed offsets cannot be had: {error.text}") from error
            log.warning("the committed offsets are asked for again: %s", error.text)
        time.sleep(ASK_AGAIN_AFTER)


def partitions(
    properties: Mapping[str, Any], topics: Sequence[str], log: logging.Logger
) -> list[TopicPartition]:
    """All partitions of these topics and patterns, as far as they exist.

    Asked by a client of its own: a consumer that is asked for topics in one of its callbacks
    aborts the process at the next.
    """
    known = asked(_stranger(properties, log).list_topics, None, ASK_TIMEOUT).topics
    return [
        TopicPartition(topic, number)
        for topic in known
        if reads(topics, topic)
        for number in known[topic].partitions
    ]


def holder(properties: Mapping[str, Any], log: logging.Logger, timeout: float) -> str | None:
    """The member that has the instance of these properties in their group, None where none has.

    Raises `ClientError` when the group does not say, retriable while its coordinator is found.
    """
    group, instance = properties["group.id"], properties["group.instance.id"]
    make, deadline = partial(_stranger, properties, log), time.monotonic() + timeout
    while True:
        try:
            members = asked(described, make, group, timeout).members
        except ClientError as error:
            if time.monotonic() > deadline or not error.retriable:
                raise
        else:
            found = (one.member_id for one in members if one.group_instance_id == instance)
            return next(found, None)
        time.sleep(ASK_AGAIN_AFTER)


def _stranger(properties: Mapping[str, Any], log: logging.Logger) -> AdminClient:
    """A client of its own for what a consumer cannot ask."""
    return made(lambda: AdminClient(_quiet(properties), logger=ClientLog(log)))


def _quiet(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {**properties, "log_level": 3, "statistics.interval.ms": 0}


def _offsets_at(client: Client, partitions: Sequence[TopicPartition], when: int) -> Offsets:
    """Ask, and ask again while leaders are being found, as those of a topic just made."""
    deadline = time.monotonic() + ASK_TIMEOUT
    while partitions:
        try:
            return _offsets_now(client, partitions, when)
        except ClientError as error:
            if time.monotonic() > deadline or not error.retriable:
                raise
        time.sleep(ASK_AGAIN_AFTER)
    return {}


def _offsets_now(client: Client, partitions: Sequence[TopicPartition], when: int) -> Offsets:
    answers = asked(client.offsets_for_times, places(partitions, when), ASK_TIMEOUT)
    problem = errors(answers)
    if problem is not None:
        failed = [answer.error for answer in answers if answer.error is not None]
        raise ClientError(
            f"offsets cannot be had: {problem}", retriable=all(map(is_retriable, failed))
        )
    return offsets(answers)


def milliseconds(time: datetime) -> int:
    """Milliseconds since 1970, rounded up; never negative, which would be a special place."""
    return max(0, -((_EPOCH - time) // timedelta(milliseconds=1)))
