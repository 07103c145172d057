"""Looks into topics without joining a group: how far they reach, and their records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as ClientMessage
from confluent_kafka import TopicPartition as ClientPartition

from worker.errors import ClientError
from worker.kafka.config import common
from worker.kafka.failures import failure, is_retriable, made
from worker.kafka.logs import ClientLog, client_logger
from worker.kafka.questions import find
from worker.ports import Offsets, Place
from worker.settings import KafkaSettings
from worker.types import Isolation, Message, RawMessage, TopicPartition

TIMEOUT: Final = 10.0
"""Seconds for one answer of the cluster."""
LOOK_AGAIN_AFTER: Final = 0.05
"""Seconds between two attempts."""
POLL_FOR: Final = 0.1
"""Seconds of one poll while topics are followed."""
LOOK_FOR_MORE: Final = 5.0
"""Seconds between two looks for new partitions."""


class Bounds(NamedTuple):
    """The offset of the oldest record that is kept, and the one after the last."""

    low: int
    end: int


def outsider(
    kafka: KafkaSettings,
    group: str = "stream-worker-reader",
    isolation: Isolation = "read_committed",
) -> Client:
    """A client that reads, in no group but with the name of one, as clients need.

    Raises `ConnectionFailed` where no client can be made of these settings.
    """
    properties = {
        **common(kafka),
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": isolation,
        "enable.partition.eof": True,
        "fetch.queue.backoff.ms": 10,
        "fetch.wait.max.ms": 10,  # the end of a log is told when this is over
        "statistics.interval.ms": 0,
    }
    return made(lambda: Client(properties, logger=ClientLog(client_logger("reader"))))


def records(client: Client, starts: Offsets, ends: Offsets) -> Iterator[RawMessage]:
    """The records between these offsets that are still there, those of a partition in order.

    Afterwards the client is still assigned.
    """
    ahead = {source: start for source, start in starts.items() if start < ends[source]}
    if ahead:
        client.assign([ClientPartition(*source, start) for source, start in ahead.items()])
    while ahead:
        raw = _polled(client)
        if raw is None:
            waiting = ", ".join(f"{source} at offset {at}" for source, at in ahead.items())
            raise ClientError(f"no record came within {TIMEOUT:.0f} s from {waiting}")
        error = raw.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise failure(error, f"Read on topic {raw.topic()}")
        source = TopicPartition(cast("str", raw.topic()), cast("int", raw.partition()))
        position = cast("int", raw.offset())
        if error is None and position < ends[source]:
            position += 1
            yield cast("RawMessage", raw)
        if position < ends[source]:
            ahead[source] = position
        else:
            ahead.pop(source, None)


_PASSED_OVER: Final = {
    KafkaError._PARTITION_EOF,  # noqa: SLF001 - a public constant
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
"""What a reader that goes on is told and need not know."""


def _polled(client: Client) -> ClientMessage | None:
    """What the client has next; None after a while.

    It looks for the coordinator of its group, although it is in none, and whether it may do so says
    nothing about records.
    """
    deadline = time.monotonic() + TIMEOUT
    while (left := deadline - time.monotonic()) > 0:
        raw = client.poll(left)
        error = None if raw is None else raw.error()
        if error is None or error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            return raw
    return None


class Reader:
    """A consumer outside all groups, as a context manager; it belongs to one thread at a time.

    Unless told otherwise it reads what is committed: what it takes for the end of a partition lies
    in front of every transaction that is open. Every method raises `ClientError` when the cluster
    does not answer.
    """

    def __init__(self, kafka: KafkaSettings, isolation: Isolation = "read_committed") -> None:
        self._client = outsider(kafka, isolation=isolation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def bounds(self, topics: Sequence[str]) -> dict[TopicPartition, Bounds]:
        """How far each partition of the topics reaches at this moment."""
        return {
            source: self._bounds(source) for topic in topics for source in self.partitions(topic)
        }

    def records(self, topic: str) -> Iterator[Message]:
        """The records of a topic up to its present end, partition by partition."""
        return self.within(self.bounds([topic]))

    def within(self, bounds: Mapping[TopicPartition, Bounds]) -> Iterator[Message]:
        """The records between such bounds that are still there, partition by partition."""
        for source, (least, end) in bounds.items():
            low = max(least, self._bounds(source).low)
            yield from map(Message, records(self._client, {source: low}, {source: end}))
            self._client.unassign()

    def since(self, topic: str, place: Place) -> dict[TopicPartition, Bounds]:
        """From which place to which end each partition of a topic reaches at this moment."""
        sources = self.partitions(topic)
        starts, ends = find(self._client, sources, place), find(self._client, sources, "newest")
        return {one: Bounds(min(starts[one], ends[one]), ends[one]) for one in sources}

    def beside(self, bounds: Mapping[TopicPartition, Bounds]) -> Iterator[Message]:
        """The records between such bounds that are still there, of all partitions together."""
        starts = {source: low for source, (low, _) in bounds.items()}
        ends = {source: end for source, (_, end) in bounds.items()}
        try:
            yield from map(Message, records(self._client, starts, ends))
        finally:
            self._client.unassign()

    def follow(self, starts: Offsets) -> Iterator[Message | None]:
        """The records from these offsets on, without an end; None when none has come for a while.

        Partitions that their topics are given meanwhile are read from their beginning.
        """
        topics = sorted({source.topic for source in starts})
        read = set(starts)
        self._client.assign([ClientPartition(*source, at) for source, at in starts.items()])
        look = time.monotonic() + LOOK_FOR_MORE
        while True:
            raw = self._client.poll(POLL_FOR)
            error = None if raw is None else raw.error()
            if raw is None or error is None:
                yield None if raw is None else Message(cast("RawMessage", raw))
            elif error.code() not in _PASSED_OVER and not is_retriable(error):
                raise failure(error, f"Read on topic {raw.topic()}")
            if time.monotonic() > look:
                fresh = {one for topic in topics for one in self.partitions(topic)} - read
                self._client.incremental_assign([ClientPartition(*one, 0) for one in sorted(fresh)])
                read |= fresh
                look = time.monotonic() + LOOK_FOR_MORE

    def at(self, source: TopicPartition, offset: int) -> Message | None:
        """The record at an offset between the bounds of a partition; None where it has a gap."""
        return next(self.beside({source: Bounds(offset, offset + 1)}), None)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Every partition of a topic that is there."""
        try:
            found = self._client.list_topics(topic, timeout=TIMEOUT).topics[topic]
        except KafkaException as error:
            raise failure(error.args[0]) from error
        return [TopicPartition(topic, number) for number in sorted(found.partitions)]

    def _bounds(self, source: TopicPartition) -> Bounds:
        """Ask, and ask again while a leader is being found, as that of a topic just made."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return Bounds(
                    *self._client.get_watermark_offsets(ClientPartition(*source), timeout=TIMEOUT)
                )
            except KafkaException as error:
                if not is_retriable(error.args[0]) or time.monotonic() > deadline:
                    raise failure(error.args[0]) from error
                time.sleep(LOOK_AGAIN_AFTER)
