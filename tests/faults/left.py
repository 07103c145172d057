"""What is read back of a run: the input, what the pipelines have made of it, and the logs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
from confluent_kafka import Consumer, IsolationLevel, KafkaError, Message
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from tests.faults.crew import Crew
from tests.faults.plan import planned
from tests.faults.run import Exit, Letter, Outcome, Promise, Result, Stored
from worker.kafka.admin import OffsetSpec

FINE: Final = frozenset({"DEBUG", "INFO", "WARNING"})
EXPECTED: Final = ("reads again from what is committed", "starting again with new clients")
"""Errors of workers that any fault may cause, beside those of the client, which tells of each."""
CLIENT: Final = "worker.kafka.client"
BAD_OF_BROKERS: Final = re.compile(
    r"\] FATAL |OutOfMemoryError|Uncaught exception|CORRUPT_MESSAGE|CorruptRecordException"
    r"|Exiting Kafka|all log dirs|[Ff]atal fault|terminating with"
)
"""What brokers must not say; their other errors are of what their state refuses, or of slowness."""


SILENT_FOR: Final = 60.0
"""Seconds after which brokers that give nothing count as away."""


def read(address: str, topic: str) -> Iterator[Message]:
    """Every record that is committed by now, of each partition in order; some that come, too.

    Raises `TimeoutError` when brokers fall silent before the end.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "judge",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([Place(topic, number, 0) for number in numbers])
    left = {*numbers}
    heard = time.monotonic()
    while left:
        found = consumer.consume(10_000, 1.0)
        heard = time.monotonic() if found else heard
        if time.monotonic() - heard > SILENT_FOR:
            raise TimeoutError(f"partitions {sorted(left)} of {topic} could not be read to the end")
        for message in found:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
    consumer.close()


def inputs(address: str, topic: str) -> Mapping[int, Stored]:
    """The messages of the input by their ids, each where it was written first."""
    found: dict[int, Stored] = {}
    for message in read(address, topic):
        one = planned(message.value() or b"")
        stored = Stored(one, message.partition() or 0, message.offset() or 0, 0)
        before = found.get(one.id, stored)
        found[one.id] = replace(before, times=before.times + 1)
    return found


def outcome(address: str, name: str, promise: Promise) -> Outcome:
    """What a pipeline has made."""
    results = [_result(message) for message in read(address, name)]
    letters = [_letter(message) for message in read(address, f"{name}.dlq")]
    return Outcome(promise, results, letters, open_in(address, [name, f"{name}.dlq"]))


def open_in(address: str, topics: Sequence[str]) -> Sequence[str]:
    """Partitions in which readers of committed records do not see the end."""
    admin = AdminClient({"bootstrap.servers": address})
    metadata = admin.list_topics(timeout=30).topics
    places = [Place(topic, number) for topic in topics for number in metadata[topic].partitions]
    asked = dict.fromkeys(places, OffsetSpec.latest())
    committed, there = (
        admin.list_offsets(asked, isolation_level=level)
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    )
    return [
        f"{place.topic}[{place.partition}]"
        for place in places
        if committed[place].result().offset != there[place].result().offset
    ]


def exits(crew: Crew) -> Sequence[Exit]:
    """How each worker has ended."""
    return [Exit(one.name, one.process.poll(), one.expected) for one in crew.workers]


def unexpected(crew: Crew, brokers: Sequence[Path], expected: Iterable[str]) -> Iterator[str]:
    """Lines that nobody expects: errors of workers, what is no log line, the worst of brokers.

    `expected` is what may be in errors of workers besides, as the faults were.
    """
    fine = tuple({*EXPECTED, *expected})
    for worker in crew.workers:
        for line in worker.log.read_text("utf-8", "replace").splitlines():
            if _is_bad(line, fine):
                yield f"{worker.name}: {line}"
    for log in brokers:
        with log.open(errors="replace") as lines:
            yield from (
                f"{log.parent.name}: {line.rstrip()}"
                for line in lines
                if BAD_OF_BROKERS.search(line)
            )


def _is_bad(line: str, expected: Sequence[str]) -> bool:
    try:
        entry = orjson.loads(line)
        is_fine = entry["level"] in FINE or entry["logger"].startswith(CLIENT)
        is_expected = any(text in entry["message"] for text in expected)
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return True
    return "exception" in entry or not (is_fine or is_expected)


def _result(message: Message) -> Result:
    value = orjson.loads(message.value() or b"")
    return Result(
        **value | {"key": (message.key() or b"").decode()},
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        at=message.timestamp()[1] / 1000,
    )


def _letter(message: Message) -> Letter:
    headers: dict[str, Any] = dict(message.headers() or ())
    one = planned(message.value() or b"")
    return Letter(one.id, headers["dlq.reason"].decode(), message.timestamp()[1] / 1000)
