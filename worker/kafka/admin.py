"""`ports.Admin` on confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
)
from confluent_kafka.admin._config import ConfigResource  # not re-exported for type checkers
from confluent_kafka.admin._listoffsets import OffsetSpec as _OffsetSpec
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic as ClientTopic

from worker.errors import BrokersUnreachable, ClientError, TopicsRefused
from worker.flow.layout import as_kafka_writes
from worker.kafka.asking import LOOK_AGAIN_AFTER, NO_ANSWER, Asking
from worker.kafka.config import DEFAULT_MESSAGE_BYTES
from worker.kafka.failures import describe, failure, is_retriable
from worker.kafka.outside import committed
from worker.kafka.partitions import places
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
_OTHER_EPOCH: Final = {KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH}
"""The leader is of a later epoch than it was asked as; or of an earlier one: the topic is new."""
_NO_OFFSET: Final = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - a public constant


class KafkaAdmin:
    """The cluster of these settings; every question is answered within `timeout` seconds.

    Raises `ConnectionFailed` when librdkafka makes no client of them.
    """

    def __init__(self, kafka: KafkaSettings, timeout: float = 10.0) -> None:
        self.asking: Final = Asking(kafka, timeout)
        self._existing: set[str] = set()
        """Topics that a broker has made or shown, which another may not know yet."""

    def names(self) -> Sequence[str]:
        """See `ports.Admin`."""
        return list(self.asking.cluster().topics)

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        """See `ports.Admin`."""
        cluster = self._showing(self._existing.intersection(topics))
        partitions = _partitions(cluster, topics)
        self._existing.difference_update(topics)
        names = list(partitions) if _has_controller(cluster) else []
        (configs, unread), allowed = self._configs(names), self._allowed(names)
        return {
            topic: TopicInfo(
                number,
                int(configs.get(topic, {}).get(LIMIT, DEFAULT_MESSAGE_BYTES)),
                allowed.get(topic),
                configs.get(topic, {}),
                _replication(cluster, topic),
                unread.get(topic, ""),
            )
            for topic, number in partitions.items()
        }

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Of every topic that this user may see how many partitions it has, and replicas."""
        cluster = self.asking.cluster()
        partitions = _partitions(cluster, sorted(cluster.topics))
        return {one: (number, _replication(cluster, one)) for one, number in partitions.items()}

    def hidden(self, topics: Sequence[str]) -> set[str]:
        """Topics of which this user may not know whether they are there."""
        if not topics:
            return set()
        answers = self.asking.client.describe_topics(
            TopicCollection(list(topics)), request_timeout=self.asking.timeout
        )
        return {topic for topic, answer in answers.items() if self._is_hidden(answer)}

    def create(self, topics: Mapping[str, NewTopic]) -> None:
        """See `ports.Admin`; raises `TopicsRefused`."""
        existing = _partitions(self.asking.cluster(), list(topics))
        self._existing.update(existing)
        new = [client_topic(name, topics[name]) for name in topics if name not in existing]
        if not new:
            return
        answers = self.asking.client.create_topics(new, request_timeout=self.asking.timeout)
        refusals = {name: self._refusal(name, answer) for name, answer in answers.items()}
        refused = {name: reason for name, reason in refusals.items() if reason is not None}
        made = answers.keys() - refused
        self._existing.update(made)
        missing = made - _partitions(self._showing(made), made).keys()
        if refused:
            raise TopicsRefused(refused)
        if missing:
            listed = ", ".join(sorted(missing))
            how = "grant this user Describe on them" if self.hidden(sorted(missing)) else ""
            raise ClientError(f"topics were made but cannot be seen yet: {listed}", advice=how)

    def uncommitted(self, group: str, topics: Sequence[str]) -> Mapping[str, int]:
        """See `ports.Admin`."""
        numbers = _partitions(self.asking.cluster(), topics)
        partitions = [
            TopicPartition(topic, number) for topic in numbers for number in range(numbers[topic])
        ]
        oldest = self._offsets(partitions, OffsetSpec.earliest())
        ends = self._offsets(partitions, OffsetSpec.latest())
        made = self.committed(group, partitions)
        behind = dict.fromkeys(numbers, 0)
        for one in partitions:
            done = made[one].offset if one in made else 0
            behind[one.topic] += max(0, ends[one] - max(oldest[one], done))
        return behind

    def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Commit]:
        """What a group has committed, without joining it; where it has not, a partition lacks."""
        return committed(self.asking, group, partitions)

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Offsets:
        """See `ports.Admin`; asked for once more while a leader is being found."""
        if not partitions:
            return {}
        deadline = time.monotonic() + self.asking.timeout
        self.asking.client.poll(0)  # what there is to be logged
        while True:
            found, errors = self._ends(partitions, IsolationLevel[isolation.upper()])
            if any(error.code() in _OTHER_EPOCH for error in errors):
                self.asking.cluster()  # by itself the client asks as of that again
            passing = [error for error in errors if is_retriable(error)]
            if not passing or (found and time.monotonic() >= deadline):
                return found
            if time.monotonic() >= deadline:
                raise self.asking.unreachable(passing[0])
            time.sleep(LOOK_AGAIN_AFTER)

    def brokers(self) -> Mapping[int, tuple[str, int]]:
        """By their ids where the cluster says that its brokers are, each a host and a port."""
        return {one.id: (str(one.host), one.port) for one in self.asking.cluster().brokers.values()}

    def group(self, group: str) -> GroupInfo:
        """What the cluster knows of a group; one that there is not has no members."""
        try:
            found = self.asking.group(group, rights=True)
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
        answers = self.asking.client.describe_topics(
            TopicCollection([topic]), request_timeout=self.asking.timeout
        )
        return str(self.asking.answer(answers[topic]).topic_id)

    def setting(self, topic: str, name: str) -> str:
        """What one of Kafka's settings of a topic is."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        (answer,) = self.asking.client.describe_configs(
            [resource], request_timeout=self.asking.timeout
        ).values()
        try:
            return str(self.asking.answer(answer)[name].value)
        except ClientError as error:
            if error.code != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            text = f"{name} of {topic} cannot be read: {error.text}"
            how = f"grant this user DescribeConfigs on topic {topic}"
            raise ClientError(text, code=error.code, advice=how) from error

    def close(self) -> None:
        """See `ports.Admin`; the client lets go of its connections when it is forgotten."""

    def _configs(self, topics: Sequence[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """What is configured by topic, and of which it is refused to tell, and why."""
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        if not resources:
            return {}, {}
        answers = self.asking.client.describe_configs(
            resources, request_timeout=self.asking.timeout
        )
        configs, unread = {}, {}
        for resource, answer in answers.items():
            try:
                found = answer.result()
            except KafkaException as error:
                if error.args[0].code() in NO_ANSWER:
                    raise self.asking.unreachable(error.args[0]) from error
                unread[resource.name] = describe(error.args[0])
            else:
                configs[resource.name] = {name: str(entry.value) for name, entry in found.items()}
        return configs, unread

    def _allowed(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """What this user may do with the topics, of those of which the cluster says it."""
        if not topics:
            return {}
        answers = self.asking.client.describe_topics(
            TopicCollection(list(topics)),
            include_authorized_operations=True,
            request_timeout=self.asking.timeout,
        )
        found = {}
        for topic, answer in answers.items():
            with suppress(KafkaException):  # of what is not told nothing is forbidden
                operations = answer.result().authorized_operations
                if operations is not None:
                    found[topic] = frozenset(one.name for one in operations)
        return found

    def _is_hidden(self, answer: Future[Any]) -> bool:
        try:
            self.asking.answer(answer)
        except ClientError as error:
            return error.code == KafkaError.TOPIC_AUTHORIZATION_FAILED
        return False

    def _offsets(self, partitions: Sequence[TopicPartition], place: Any) -> Offsets:
        if not partitions:
            return {}
        ask = partial(
            self.asking.client.list_offsets,
            dict.fromkeys(places(partitions), place),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=self.asking.timeout,
        )
        found = self.asking.answers(ask)
        if any(one.offset < 0 for one in found.values()):
            raise self.asking.unreachable(_NO_OFFSET)
        return {TopicPartition(p.topic, p.partition): found[p].offset for p in found}

    def _ends(
        self, partitions: Sequence[TopicPartition], isolation: IsolationLevel
    ) -> tuple[Offsets, list[KafkaError]]:
        """The ends that the cluster says, and why it does not say the others.

        Of a question that no broker answers in time the client makes an answer without an offset.
        """
        answers = self.asking.client.list_offsets(
            dict.fromkeys(places(partitions), OffsetSpec.latest()),
            isolation_level=isolation,
            request_timeout=self.asking.timeout,
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

    def _refusal(self, topic: str, answer: Future[Any]) -> str | None:
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() in NO_ANSWER:
                raise self.asking.unreachable(error.args[0]) from error
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                return str(failure(error.args[0], f"Create on topic {topic}"))
        return None

    def _showing(self, topics: Collection[str]) -> ClusterMetadata:
        """The cluster as soon as a broker shows these topics: not all learn of one at once."""
        deadline = time.monotonic() + self.asking.timeout
        while True:
            cluster = self.asking.cluster()
            if len(_partitions(cluster, topics)) == len(topics) or time.monotonic() > deadline:
                return cluster
            time.sleep(LOOK_AGAIN_AFTER)


def _partitions(cluster: ClusterMetadata, topics: Iterable[str]) -> dict[str, int]:
    known = cluster.topics
    return {
        topic: len(known[topic].partitions)
        for topic in topics
        if topic in known and known[topic].error is None
    }


def _replication(cluster: ClusterMetadata, topic: str) -> int:
    """How many replicas a topic has, by its partition that has most."""
    return max((len(one.replicas) for one in cluster.topics[topic].partitions.values()), default=0)


def _has_controller(cluster: ClusterMetadata) -> bool:
    """The embedded broker has none, and the client would wait for one before it asks."""
    return cluster.controller_id in cluster.brokers


def client_topic(name: str, topic: NewTopic) -> ClientTopic:
    """A new topic as the client takes it."""
    return ClientTopic(
        name,
        num_partitions=topic.partitions or -1,
        replication_factor=topic.replication or -1,
        config={key: as_kafka_writes(value) for key, value in topic.config.items()},
    )
