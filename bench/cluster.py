"""Topics, records and offsets for benchmarks, by the bare client."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
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


def padded(size: int) -> Iterator[bytes]:
    """Flights with a text in them that makes each `size` bytes long."""
    for flight in flights():
        room = size - len(flight) - len(b',"pad":""')
        yield flight[:-1] + b',"pad":"' + b"x" * room + b'"}'


@contextlib.contextmanager
def topics(brokers: str, *names: str, partitions: int = PARTITIONS) -> Iterator[None]:
    """Make topics; they, and what was written to them, go with the block."""
    client = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    config = {"file.delete.delay.ms": "0", "retention.ms": "-1"}
    made = client.create_topics([NewTopic(name, partitions, 1, config=config) for name in names])
    for future in made.values():
        future.result()
    try:
        yield
    finally:
        for future in client.delete_topics(list(names)).values():
            future.result()


def load(brokers: str, topic: str, records: Iterable[bytes]) -> None:
    """Write records, spread over a thousand keys, uncompressed."""
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.kbytes": 65536}
    )
    for index, record in enumerate(records):
        while True:
            try:
                producer.produce(topic, record, str(index % KEYS))
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError(f"the broker did not take the records of {topic}")


@dataclass(frozen=True)
class Reading:
    """The number of records in a topic, and the monotonic time at which it was so."""

    at: float
    count: int


class Ends:
    """The end offsets of a topic, asked of the broker: in one request, so of one moment."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._client = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        self._latest = {TopicPartition(topic, number): latest for number in range(PARTITIONS)}

    def read(self) -> Reading:
        """Records written up to now; none while a new topic has no leaders yet."""
        asked = time.monotonic()
        try:
            ends = self._client.list_offsets(self._latest, request_timeout=10)
            count = sum(future.result().offset for future in ends.values())
        except KafkaException:
            count = 0
        return Reading((asked + time.monotonic()) / 2, count)


def reader(brokers: str, topic: str) -> Consumer:
    """A consumer of a whole topic from its beginning, in no group."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "bench-reader", "fetch.queue.backoff.ms": 10}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    return consumer


def wrong(brokers: str, topic: str, number: int = 100) -> str:
    """What is wrong with the first results, if anything: each has its key and the field."""
    consumer = reader(brokers, topic)
    try:
        messages = consumer.consume(number, 10)
    finally:
        consumer.close()
    for message in messages:
        try:
            key, seen = int(message.key() or b"-1"), json.loads(message.value() or b"")["seen"]
        except (ValueError, KeyError, TypeError) as error:
            return f"a result is not what it should be: {error!r}"
        if seen is not True or not 0 <= key < KEYS:
            return f"a result has the key {key} and seen: {seen}"
    return "" if messages else "no results can be read"
