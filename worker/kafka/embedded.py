"""librdkafka's mock cluster as a broker in this process, for `worker dev` and smoke tests.

Its limits: it applies no transactional offsets and fences nobody, cannot make or describe topics
through the admin API, makes every topic that a client asks for, with four partitions, and keeps no
more than 100,000 records or 5 MiB of each partition: older ones are dropped without a word.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, Producer, TopicPartition

PARTITIONS: Final = 4
TIMEOUT: Final = 10.0
"""Seconds for one question to the broker."""


class EmbeddedBroker:
    """A broker that lives as long as the `with` block."""

    partitions: Final = PARTITIONS
    """What every topic is made with."""

    def __init__(self) -> None:
        self._client = _mock_cluster()
        brokers = self._client.list_topics(timeout=TIMEOUT).brokers.values()
        self.address: Final = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        """Where clients connect, as host:port."""

    def __enter__(self) -> Self:
        """The broker runs as soon as the object is made."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the broker; its records are gone."""
        self._client.close()

    def create(self, topics: Sequence[str]) -> None:
        """Make topics that do not exist."""
        for topic in topics:
            self._client.list_topics(topic, timeout=TIMEOUT)

    def low_watermarks(self, topic: str) -> list[int]:
        """Per partition the oldest offset that is kept: 0 where nothing was dropped."""
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": "low-watermarks"}, logger=_silent()
        )
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT)[0]
                for number in range(self.partitions)
            ]
        finally:
            consumer.close()


def _mock_cluster() -> Producer:
    properties = {
        "bootstrap.servers": "mock",
        "test.mock.num.brokers": 1,
        "error_cb": lambda _error: None,
    }
    return Producer(properties, logger=_silent())


def _silent() -> logging.Logger:
    logger = logging.getLogger("worker.kafka.embedded")
    logger.setLevel(logging.CRITICAL)
    return logger
