"""`ports.Admin` on confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource  # not re-exported for type checkers
from confluent_kafka.admin._listoffsets import OffsetSpec as _OffsetSpec
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic as ClientTopic

from worker.errors import BrokersUnreachable, ClientError, TopicsRefused
from worker.kafka.config import DEFAULT_MESSAGE_BYTES, common
from worker.kafka.failures import describe, failure, is_retriable, made
from worker.kafka.logs import ClientLog, client_logger
from worker.kafka.partitions import commits, places
from worker.ports import NewTopic, Offsets
from worker.settings import KafkaSettings
from worker.types import Commit, Isolation, TopicInfo, TopicPartition

OffsetSpec: Final[Any] = _OffsetSpec  # its methods have no types


class GroupInfo(NamedTuple):
    """What the cluster knows of a group."""

    members: int
    allowed: frozenset[str] | None = None
    """Operations that this user may do with it; None where the cluster does not say."""


LIMIT: Final = "max.message.bytes"
LOOK_AGAIN_AFTER: Final = 0.05
"""Seconds between two looks for a topic that was made."""

NO_ANSWER: Final = {
    KafkaError._TIMED_OUT,  # noqa: SLF001 - public constants
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
}
"""Errors that mean that no broker has answered."""
_NO_OFFSET: Final = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - a public constant


class KafkaAdmin:
    """The cluster of these settings; every question is answered within `timeout` seconds.

    Raises `ConnectionFailed` when librdkafka makes no client of them.
    """

    def __init__(self, kafka: KafkaSettings, timeout: float = 10.0) -> None:
        self._brokers = ", ".join(kafka.brokers)
        self._timeout = timeout
        self._reason: str | None = None
        self._existing: set[str] = set()
        """Topics that a broker has made or shown, which another may not know yet."""
        self._log = client_logger("admin")
        properties: Any = {**common(kafka), "statistics.interval.ms": 0}
        properties |= {"error_cb": self._on_error}
        self._client = made(lambda: AdminClient(properties, logger=ClientLog(self._log)))

    def names(self) -> Sequence[str]:
        """See `ports.Admin`."""
        return list(self._cluster().topics)

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """See `ports.Admin`."""
        cluster = self._showing(self._existing.intersection(topics))
        partitions = _partitions(cluster, topics)
        self._existing.difference_update(topics)
        names = list(partitions) if _has_controller(cluster) else []
        configs, allowed = self._configs(names), self._allowed(names)
        return {
            topic: TopicInfo(
                number,
                int(configs.get(topic, {}).get(LIMIT, DEFAULT_MESSAGE_BYTES)),
                allowed.get(topic),
                configs.get(topic, {}),
            )
            for topic, number in partitions.items()
        }

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """See `ports.Admin`; raises `TopicsRefused`."""
        existing = _partitions(self._cluster(), list(topics))
        self._existing.update(existing)
        new = [client_topic(name, topics[name]) for name in topics if name not in existing]
        if not new:
            return
        answers = self._client.create_topics(new, request_timeout=self._timeout)
        refusals = {name: self._refusal(answer) for name, answer in answers.items()}
        refused = {name: reason for name, reason in refusals.items() if reason is not None}
        if refused:
            raise TopicsRefused(refused)
        names = [topic.topic for topic in new]
        self._existing.update(names)
        missing = set(names) - _partitions(self._showing(names), names).keys()
        if missing:
            listed = ", ".join(sorted(missing))
            raise ClientError(f"topics were made but cannot be seen yet: {listed}")

    def uncommitted(self, group: str, topics: Sequence[str]) -> Mapping[str, int]:
        """See `ports.Admin`."""
        numbers = _partitions(self._cluster(), topics)
        partitions = [
            TopicPartition(topic, number) for topic in numbers for number in range(numbers[topic])
        ]
        oldest = self._offsets(partitions, OffsetSpec.earliest())
        ends = self._offsets(partitions, OffsetSpec.latest())
        committed = self.committed(group, partitions)
        behind = dict.fromkeys(numbers, 0)
        for one in partitions:
            done = committed[one].offset if one in committed else 0
            behind[one.topic] += max(0, ends[one] - max(oldest[one], done))
        return behind

    def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Commit]:
        """What a group has committed, without joining it; where it has not, a partition lacks."""
        if not partitions:
            return {}
        asked = [ConsumerGroupTopicPartitions(group, places(partitions))]
        ask = partial(
            self._client.list_consumer_group_offsets, asked, request_timeout=self._timeout
        )
        (found,) = self._answers(ask).values()
        return {one: made for one, made in commits(found.topic_partitions).items() if made[0] >= 0}

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Offsets:
        """See `ports.Admin`; asked for once more while a leader is being found."""
        if not partitions:
            return {}
        deadline = time.monotonic() + self._timeout
        self._client.poll(0)  # what there is to be logged
        while True:
            found, errors = self._ends(partitions, IsolationLevel[isolation.upper()])
            if any(error.code() == KafkaError.FENCED_LEADER_EPOCH for error in errors):
                self._cluster()  # by itself the client goes on asking as of the earlier epoch
            passing = [error for error in errors if is_retriable(error)]
            if not passing or (found and time.monotonic() >= deadline):
                return found
            if time.monotonic() >= deadline:
                raise self._unreachable(passing[0])
            time.sleep(LOOK_AGAIN_AFTER)

    def brokers(self) -> Mapping[int, tuple[str, int]]:
        """By their ids where the cluster says that its brokers are, each a host and a port."""
        return {one.id: (str(one.host), one.port) for one in self._cluster().brokers.values()}

    def group(self, group: str) -> GroupInfo:
        """What the cluster knows of a group; one that there is not has no members."""
        ask = partial(
            self._client.describe_consumer_groups,
            [group],
            include_authorized_operations=True,
            request_timeout=self._timeout,
        )
        try:
            found = self._answers(ask)[group]
        except ClientError as error:
            if error.code == KafkaError.GROUP_ID_NOT_FOUND:
                return GroupInfo(0)
            raise
        allowed = found.authorized_operations
        names = None if allowed is None else frozenset(one.name for one in allowed)
        return GroupInfo(len(found.members), names)

    def allowed(self, groups: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """See `ports.Admin`."""
        told = {group: self._allowed_with(group) for group in groups}
        return {group: allowed for group, allowed in told.items() if allowed is not None}

    def _allowed_with(self, group: str) -> frozenset[str] | None:
        try:
            return self.group(group).allowed
        except BrokersUnreachable:
            return None
        except ClientError as error:
            return frozenset() if error.code == KafkaError.GROUP_AUTHORIZATION_FAILED else None

    def topic_id(self, topic: str) -> str:
        """Kafka's id of a topic, which one that is made again under its name does not get."""
        answers = self._client.describe_topics(
            TopicCollection([topic]), request_timeout=self._timeout
        )
        return str(self._answer(answers[topic]).topic_id)

    def setting(self, topic: str, name: str) -> str:
        """What one of Kafka's settings of a topic is."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        (answer,) = self._client.describe_configs(
            [resource], request_timeout=self._timeout
        ).values()
        try:
            return str(self._answer(answer)[name].value)
        except ClientError as error:
            if error.code != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            text = f"{name} of {topic} cannot be read: {error.text}"
            how = f"grant this user DescribeConfigs on topic {topic}"
            raise ClientError(text, code=error.code, advice=how) from error

    def close(self) -> None:
        """See `ports.Admin`; the client lets go of its connections when it is forgotten."""

    def _cluster(self) -> ClusterMetadata:
        try:
            found = self._client.list_topics(timeout=self._timeout)
        except KafkaException as error:
            raise self._unreachable(error.args[0]) from error
        self._reason = None
        return found

    def _configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        if not resources:
            return {}
        answers = self._client.describe_configs(resources, request_timeout=self._timeout)
        return {one.name: self._config(one.name, answer) for one, answer in answers.items()}

    def _config(self, topic: str, answer: Future[Any]) -> dict[str, str]:
        try:
            return {name: str(entry.value) for name, entry in answer.result().items()}
        except KafkaException as error:
            if error.args[0].code() in NO_ANSWER:
                raise self._unreachable(error.args[0]) from error
            self._log.warning(
                "%s of %s is taken for Kafka's default, %d, since it cannot be read: %s",
                LIMIT,
                topic,
                DEFAULT_MESSAGE_BYTES,
                describe(error.args[0]),
            )
            return {}

    def _allowed(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """What this user may do with the topics, of those of which the cluster says it."""
        if not topics:
            return {}
        answers = self._client.describe_topics(
            TopicCollection(list(topics)),
            include_authorized_operations=True,
            request_timeout=self._timeout,
        )
        found = {}
        for topic, answer in answers.items():
            with suppress(KafkaException):  # of what is not told nothing is forbidden
                operations = answer.result().authorized_operations
                if operations is not None:
                    found[topic] = frozenset(one.name for one in operations)
        return found

    def _offsets(self, partitions: Sequence[TopicPartition], place: Any) -> Offsets:
        if not partitions:
            return {}
        ask = partial(
            self._client.list_offsets,
            dict.fromkeys(places(partitions), place),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self._timeout,
        )
        found = self._answers(ask)
        if any(one.offset < 0 for one in found.values()):
            raise self._unreachable(_NO_OFFSET)
        return {TopicPartition(p.topic, p.partition): found[p].offset for p in found}

    def _ends(
        self, partitions: Sequence[TopicPartition], isolation: IsolationLevel
    ) -> tuple[Offsets, list[KafkaError]]:
        """The ends that the cluster says, and why it does not say the others.

        Of a question that no broker answers in time the client makes an answer without an offset.
        """
        answers = self._client.list_offsets(
            dict.fromkeys(places(partitions), OffsetSpec.latest()),
            isolation_level=isolation,
            request_timeout=self._timeout,
        )
        found, errors = {}, []
        for place, answer in answers.items():
            try:
                offset = answer.result().offset
            except KafkaException as error:
                errors.append(error.args[0])
                continue
            if offset < 0:
                errors.append(_NO_OFFSET)
            else:
                found[TopicPartition(place.topic, place.partition)] = offset
        return found, errors

    def _answers(self, ask: Callable[[], Mapping[Any, Future[Any]]]) -> Mapping[Any, Any]:
        """Ask, and ask again while a leader or a coordinator is being found."""
        deadline = time.monotonic() + self._timeout
        while True:
            answers = ask()
            try:
                return {key: answer.result() for key, answer in answers.items()}
            except KafkaException as error:
                if not is_retriable(error.args[0]):
                    raise failure(error.args[0]) from error
                if time.monotonic() >= deadline:
                    raise self._unreachable(error.args[0]) from error
            time.sleep(LOOK_AGAIN_AFTER)

    def _answer(self, answer: Future[Any]) -> Any:
        try:
            return answer.result()
        except KafkaException as error:
            if error.args[0].code() in NO_ANSWER:
                raise self._unreachable(error.args[0]) from error
            raise failure(error.args[0]) from error

    def _refusal(self, answer: Future[Any]) -> str | None:
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() in NO_ANSWER:
                raise self._unreachable(error.args[0]) from error
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                return describe(error.args[0])
        return None

    def _showing(self, topics: Collection[str]) -> ClusterMetadata:
        """The cluster as soon as a broker shows these topics: not all learn of one at once."""
        deadline = time.monotonic() + self._timeout
        while True:
            cluster = self._cluster()
            if len(_partitions(cluster, topics)) == len(topics) or time.monotonic() > deadline:
                return cluster
            time.sleep(LOOK_AGAIN_AFTER)

    def _unreachable(self, error: KafkaError) -> BrokersUnreachable:
        """Say why, which the client tells only who polls it."""
        self._client.poll(0)
        return BrokersUnreachable(
            f"no broker of {self._brokers} answered in {self._timeout:.0f} s: "
            f"{self._reason or describe(error)}"
        )

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self._reason = describe(error)


def _partitions(cluster: ClusterMetadata, topics: Iterable[str]) -> dict[str, int]:
    known = cluster.topics
    return {
        topic: len(known[topic].partitions)
        for topic in topics
        if topic in known and known[topic].error is None
    }


def _has_controller(cluster: ClusterMetadata) -> bool:
    """The embedded broker has none, and the client would wait for one before it asks."""
    return cluster.controller_id in cluster.brokers


def client_topic(name: str, topic: NewTopic) -> ClientTopic:
    """A new topic as the client takes it."""
    return ClientTopic(
        name,
        num_partitions=topic.partitions or -1,
        replication_factor=topic.replication or -1,
        config={key: _text(value) for key, value in topic.config.items()},
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
