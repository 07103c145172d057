"""What the client asks the cluster about topics, and how it changes them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource  # not re-exported for type checkers
from confluent_kafka.admin._metadata import ClusterMetadata

from worker.errors import (
    ClientError,
    ConnectionFailed,
    ConsumeFailed,
    InvalidPartition,
    TopicNotFound,
)
from worker.kafka.admin import OffsetSpec, client_topic
from worker.kafka.asking import NO_ANSWER, QUIET
from worker.kafka.config import DEFAULT_MESSAGE_BYTES, common
from worker.kafka.failures import failure, made, unanswered
from worker.kafka.logs import ClientLog, client_logger
from worker.kafka.questions import milliseconds
from worker.ports import Offsets, Place
from worker.settings import KafkaSettings
from worker.types import TopicInfo, TopicPartition

_LOGGER: Final = client_logger("admin")
LOG: Final = ClientLog(_LOGGER)

LOOK_AGAIN_AFTER: Final = 0.05
"""Seconds between two looks for a change."""

SHORTEST_QUESTION: Final = 0.5
"""Seconds."""

_HOPELESS: Final = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - public constants
    KafkaError._SSL,  # noqa: SLF001
}
"""Why a connection fails again however often it is tried."""


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """How a topic is made; None is the cluster's default, `config` has Kafka's topic settings."""

    partitions: int | None = None
    replication_factor: int | None = None
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def replication(self) -> int | None:
        """See `ports.NewTopic`."""
        return self.replication_factor


@dataclass(frozen=True, slots=True)
class PartitionMetadata:
    """One partition; brokers are named by their numbers, offsets are None without a leader."""

    id: int
    leader: int | None
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    """Replicas that are in sync."""
    offline: tuple[int, ...]
    """Replicas on brokers that the cluster does not name at the moment."""
    low: int | None
    """The oldest record that is kept."""
    high: int | None
    """The offset that the next record gets, as far as replicas have it (the high watermark)."""


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """A topic as the cluster has it; `config` holds every setting, the defaults too."""

    name: str
    topic_id: str
    partitions: tuple[PartitionMetadata, ...]
    config: Mapping[str, str]


class Topics:
    """The topics of a cluster.

    Every method raises `ConnectionFailed` when no broker answers within the `request_timeout`, and
    `ClientError` for what the cluster refuses.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        properties: Mapping[str, Any],
        on_error: Callable[[KafkaError], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._brokers = kafka.brokers
        self._timeout = kafka.network.request_timeout
        self._attempts = kafka.metadata.retries + 1
        self._backoff = kafka.metadata.retry_backoff
        self._isolation = IsolationLevel[kafka.consumer.isolation.upper()]
        self._on_error = on_error
        self._reason: KafkaError | None = None
        self._on_connected = on_connected
        self.reached = False
        """Whether the last question was answered."""
        own: Any = {**common(kafka), **QUIET, "error_cb": self._note}
        self.client: Final = made(lambda: AdminClient({**own, **properties}, logger=LOG))
        """The underlying client."""

    def ping(self, timeout: float) -> None:
        """Ask any broker for a sign of life."""
        self._cluster(timeout)

    def names(self) -> list[str]:
        """Every topic that this user may see, but for Kafka's own."""
        return sorted(name for name in self._cluster().topics if not name.startswith("__"))

    def create(self, name: str, topic: TopicConfig, *, validate_only: bool = False) -> None:
        """Make a topic and wait until it can be seen, or see only whether it could be made."""
        self._cluster()
        answers = self.client.create_topics(
            [client_topic(name, topic)],
            request_timeout=self._timeout,
            validate_only=validate_only,
        )
        self._result(answers[name], name, "Create")
        if not validate_only:
            self._wait(
                lambda: self._unusable(name), f"topic {name} is made, but cannot be used yet"
            )

    def delete(self, name: str) -> None:
        """Delete a topic with its records and wait until it is gone; raises `TopicNotFound`."""
        self._cluster()
        (answer,) = self.client.delete_topics([name], request_timeout=self._timeout).values()
        self._result(answer, name, "Delete")
        self._wait(lambda: name in self._cluster().topics, f"topic {name} is still there")

    def describe(self, name: str) -> TopicMetadata:
        """Everything about a topic; raises `TopicNotFound`."""
        brokers = self._cluster().brokers
        found = self._described(name)
        led = [TopicPartition(name, p.id) for p in found.partitions if p.leader is not None]
        low = self._known(led, OffsetSpec.earliest())
        high = self._known(led, OffsetSpec.latest())
        partitions = (
            PartitionMetadata(
                id=one.id,
                leader=None if one.leader is None else one.leader.id,
                replicas=tuple(node.id for node in one.replicas),
                isr=tuple(node.id for node in one.isr),
                offline=tuple(node.id for node in one.replicas if node.id not in brokers),
                low=low.get(TopicPartition(name, one.id)),
                high=high.get(TopicPartition(name, one.id)),
            )
            for one in found.partitions
        )
        return TopicMetadata(name, str(found.topic_id), tuple(partitions), self._config(name))

    def partitions(self, name: str) -> list[int]:
        """The numbers of a topic's partitions; raises `TopicNotFound`."""
        return sorted(partition.id for partition in self._described(name).partitions)

    def info(self, name: str) -> TopicInfo:
        """Partitions and the largest record of a topic; raises `TopicNotFound`."""
        partitions = len(self.partitions(name))
        try:
            limit = int(self._config(name)["max.message.bytes"])
        except ClientError as error:
            _LOGGER.warning("%s is taken to have Kafka's default settings: %s", name, error)
            limit = DEFAULT_MESSAGE_BYTES
        return TopicInfo(partitions, limit)

    def require(self, source: TopicPartition) -> None:
        """Raise `TopicNotFound` or `InvalidPartition` for what the cluster does not have."""
        known = self.partitions(source.topic)
        if source.partition not in known:
            raise InvalidPartition(
                f"topic {source.topic} has no partition {source.partition}",
                advice=f"legal are 0 to {known[-1]}",
            )

    def require_offset(self, source: TopicPartition, offset: int) -> None:
        """Raise `ConsumeFailed` for an offset that the log does not reach to, or no longer."""
        low = self._known([source], OffsetSpec.earliest()).get(source, offset)
        high = self._known([source], OffsetSpec.latest()).get(source, offset)
        if not low <= offset <= high:
            raise ConsumeFailed(
                f"offset {offset} of {source} is not in the log",
                advice=f"legal are {low} to {high}",
            )

    def offsets(self, sources: Sequence[TopicPartition], place: Place) -> Offsets:
        """The offsets of a place in partitions, in the client's isolation.

        A time beyond the last record is the end.
        """
        if place == "oldest":
            return self._offsets(sources, OffsetSpec.earliest(), self._isolation)
        ends = self._offsets(sources, OffsetSpec.latest(), self._isolation)
        if not isinstance(place, datetime):
            return ends
        spec = OffsetSpec.for_timestamp(milliseconds(place))
        found = self._offsets(sources, spec, self._isolation)
        return {source: ends[source] if at < 0 else at for source, at in found.items()}

    # --- details ---

    def _cluster(self, timeout: float | None = None) -> ClusterMetadata:
        """Ask for the metadata; at first contact more than once, all within the time-out."""
        whole = self._timeout if timeout is None else timeout
        attempts = 1 if self.reached or timeout is not None else self._attempts
        for left in reversed(range(attempts)):
            try:
                found = self._metadata(whole / attempts)
            except ConnectionFailed as error:
                if not left or error.code in _HOPELESS:
                    raise
                self.client.poll(self._backoff)
            else:
                self.reached = True
                self._on_connected()
                return found
        raise AssertionError("there is at least one attempt")

    def _metadata(self, timeout: float) -> ClusterMetadata:
        """Ask in ever longer questions: the client tells only between two that it is not let in."""
        deadline, patience = time.monotonic() + timeout, SHORTEST_QUESTION
        while True:
            left = deadline - time.monotonic()
            try:
                return self.client.list_topics(timeout=max(0.01, min(patience, left)))
            except KafkaException as error:
                self.client.poll(0)
                reason = self._reason or error.args[0]
                if left <= patience or reason.code() in _HOPELESS:
                    raise self._unreachable(reason) from error
                patience *= 2

    def _described(self, name: str) -> Any:
        if not self.reached:
            self._cluster()
        answers = self.client.describe_topics(
            TopicCollection([name]), request_timeout=self._timeout
        )
        return self._result(answers[name], name)

    def _unusable(self, name: str) -> float:
        """How many partitions have no leader that answers; infinity where the topic is not seen."""
        try:
            sources = [TopicPartition(name, number) for number in self.partitions(name)]
        except ClientError as error:
            if error.code != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                return math.inf
            text = f"topic {name} is made, but is not shown to this user"
            raise ClientError(text, code=error.code, advice="grant it Describe on it") from error
        answers = self._ask(sources, OffsetSpec.earliest(), self._isolation)
        return sum(not self._is_given(answer, name) for answer in answers.values())

    def _is_given(self, answer: Future[Any], topic: str) -> bool:
        try:
            self._result(answer, topic)
        except ClientError:
            return False
        return True

    def _config(self, name: str) -> dict[str, str]:
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        (answer,) = self.client.describe_configs([resource], request_timeout=self._timeout).values()
        return {
            entry.name: str(entry.value)
            for entry in self._result(answer, name, "DescribeConfigs").values()
        }

    def _offsets(self, sources: Sequence[TopicPartition], spec: Any, isolation: Any) -> Offsets:
        answers = self._ask(sources, spec, isolation)
        return {
            source: self._result(answer, source.topic).offset for source, answer in answers.items()
        }

    def _known(self, sources: Sequence[TopicPartition], spec: Any) -> Offsets:
        """The offsets of partitions whose leaders answer, of transactions that are open too."""
        found: dict[TopicPartition, int] = {}
        answers = self._ask(sources, spec, IsolationLevel.READ_UNCOMMITTED)
        for source, answer in answers.items():
            try:
                found[source] = self._result(answer, source.topic).offset
            except ClientError as error:
                _LOGGER.warning("the offsets of %s are not known: %s", source, error)
        return found

    def _ask(
        self, sources: Sequence[TopicPartition], spec: Any, isolation: IsolationLevel
    ) -> dict[TopicPartition, Future[Any]]:
        if not sources:
            return {}
        answers = self.client.list_offsets(
            {ClientPartition(*source): spec for source in sources},
            isolation_level=isolation,
            request_timeout=self._timeout,
        )
        return {TopicPartition(at.topic, at.partition): answer for at, answer in answers.items()}

    def _result(self, answer: Future[Any], topic: str, operation: str = "Describe") -> Any:
        try:
            return answer.result()
        except KafkaException as error:
            problem: KafkaError = error.args[0]
            if problem.code() in NO_ANSWER:
                self.client.poll(0)  # the client tells the reason only who polls it
                raise self._unreachable(self._reason or problem) from error
            if problem.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                text = f"topic {topic} does not exist"
                raise TopicNotFound(text, code=problem.code()) from error
            raise failure(problem, f"{operation} on topic {topic}") from error

    def _wait(self, missing: Callable[[], float], otherwise: str) -> None:
        """Wait until nothing is missing, for as long as it becomes less within the time-out.

        Brokers make the logs of partitions one after the other, so those of many take long.
        """
        least, deadline = math.inf, time.monotonic() + self._timeout
        while left := missing():
            now = time.monotonic()
            if left < least:
                least, deadline = left, now + self._timeout
            elif now > deadline:
                raise ClientError(otherwise, retriable=True, advice="look again later")
            self.client.poll(LOOK_AGAIN_AFTER)

    def _unreachable(self, reason: KafkaError) -> ConnectionFailed:
        self._reason = None
        self.reached = False
        return unanswered(self._brokers, reason)

    def _note(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self._reason = error
        self._on_error(error)
