"""Topics, records and offsets for benchmarks, by the bare client."""

from __future__ import annotations

import gzip
import itertools
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

FLIGHTS = Path(__file__).parent.parent / "handlers" / "data" / "flights.jsonl.gz"
PARTITIONS = 4
KEYS = 1000


def unique(name: str) -> str:
    """A name for a topic or group that no earlier run has used."""
    return f"bench-{re.sub('[^a-z0-9]+', '-', name)}-{uuid.uuid4().hex[:8]}"


def flights() -> Iterator[bytes]:
    """The example's flights that are whole, again and again."""
    with gzip.open(FLIGHTS) as lines:
        whole = [line.rstrip(b"\n") for line in lines if line.endswith(b"}\n")]
    return itertools.cycle(whole)


def create(brokers: str, *topics: str) -> None:
    """Make topics with four partitions."""
    client = AdminClient({"bootstrap.servers": brokers})
    made = client.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    for future in made.values():
        future.result()


def load(brokers: str, topic: str, number: int) -> None:
    """Write so many flights, spread over a thousand keys."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20, "compression.type": "lz4"})
    for index, flight in enumerate(itertools.islice(flights(), number)):
        while True:
            try:
                producer.produce(topic, flight, str(index % KEYS))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


class Ends:
    """The number of records in a topic, asked of the broker."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench-ends"})
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]

    def count(self) -> int:
        """Records written up to now; 0 while a new topic has no leaders yet."""
        try:
            ends = [self._consumer.get_watermark_offsets(p, timeout=10) for p in self._partitions]
        except KafkaException:
            return 0
        return sum(end for _, end in ends)

    def reach(self, number: int, timeout: float, alive: Callable[[], bool]) -> float:
        """Wait until so many records are there; returns the monotonic time of that moment."""
        deadline = time.monotonic() + timeout
        while self.count() < number:
            if time.monotonic() > deadline or not alive():
                raise RuntimeError(f"only {self.count()} of {number} records arrived")
            time.sleep(0.01)
        return time.monotonic()
