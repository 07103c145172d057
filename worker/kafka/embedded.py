"""librdkafka's mock cluster as a broker in this process, for `worker dev` and smoke tests.

It applies no transactional offsets, fences nobody, makes topics only when a client asks for them,
each with four partitions, and keeps 100,000 records or 5 MiB of each partition.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, Producer, TopicPartition

PARTITIONS: Final = 4


class EmbeddedBroker:
    """A broker that lives as long as the `with` block."""

    def __init__(self) -> None:
        self._client = Producer(
            {
                "test.mock.num.brokers": 1,
                "bootstrap.servers": "mock",
                "error_cb": lambda _error: None,
            },
            logger=_silent(),
        )
        brokers = self._client.list_topics(timeout=10).brokers.values()
        self.address: str = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        """Where clients connect, as host:port."""

    def __enter__(self) -> Self:
        """The broker is there as soon as the object is."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the broker with its records."""
        del self._client

    def create(self, topics: Sequence[str]) -> None:
        """Make topics, each with four partitions."""
        for topic in topics:
            self._client.list_topics(topic, timeout=10)

    def watermarks(self, topic: str) -> list[tuple[int, int]]:
        """Per partition the offset of the oldest record that is kept, and the end."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "watermarks"})
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                for partition in range(PARTITIONS)
            ]
        finally:
            consumer.close()


def _silent() -> logging.Logger:
    logger = logging.getLogger("worker.kafka.embedded")
    logger.setLevel(logging.CRITICAL)
    return logger
