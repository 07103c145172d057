"""Memory at the peak while messages wait in a retry topic, and while lanes are fenced."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from bench.backlog import run
from bench.cluster import PARTITIONS, Ends, flights, load, topics, unique
from bench.figures import spread
from bench.rounds import Attempt, Subject, rounds, say
from bench.section import Section
from bench.systems import Job, worker
from bench.table import by_system, column, median_of
from worker.flow.fence import Lane, fence_record, lane_of
from worker.types import TopicPartition

BACKLOG: Final = 200_000
"""Flights that are handled meanwhile."""
DAY: Final = 86_400
HEAD: Final = [
    "beside a backlog",
    "peak MiB, median (range)",
    "bytes for each",
    "first result after s",
    "messages/s",
    "CPU us/message",
]
SETTINGS: Final = ["ordering: key", "retry: {topics: [24h]}"]


@dataclass(frozen=True)
class Case(Subject):
    """So many messages that wait, each alone in its lane, and so many of these lanes fenced."""

    waiting: int
    fenced: int


def cases(number: int) -> list[Case]:
    """Without any, with `number` messages that wait, and with their lanes fenced, too."""
    return [
        Case("none", "nothing waits", 0, 0),
        Case("waiting", f"{number:,} messages wait", number, 0),
        Case("fenced", f"{number:,} messages wait, all lanes fenced", number, number),
    ]


def measure(brokers: str, number: int, repeats: int, limit: float) -> Section:
    """A worker in each case `repeats` times in turn."""
    source = unique("source")
    with topics(brokers, source, f"{source}.dlq"):
        say(f"loading {BACKLOG:,} records")
        load(brokers, source, itertools.islice(flights(), BACKLOG))

        def through(case: Case, repeat: int) -> dict[str, float]:
            group = unique(f"{case.name}-{repeat}")
            # The group of the spec's one pipeline.
            tier, fence = f"{group}-0.retry.0", f"{group}-0.fence"
            with ExitStack() as stack:
                stack.enter_context(topics(brokers, group, tier))
                stack.enter_context(topics(brokers, fence, partitions=1))
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                write(brokers, itertools.islice(waiting(source, tier), case.waiting))
                write(brokers, itertools.islice(fences(source, fence), case.fenced))
                job = Job(brokers, group, source, group, Path(folder))
                command = worker("seen", SETTINGS)(job)
                return run(command, Ends(brokers, group), BACKLOG, limit)

        attempts = rounds(cases(number), repeats, through)
    return Section(
        "Retries that wait",
        {"waiting": number, "backlog": BACKLOG, "repeats": repeats, "limit": limit},
        [asdict(one) for one in attempts],
        table(attempts, number),
    )


def table(attempts: Sequence[Attempt], number: int) -> str:
    """Medians and ranges; what each message or lane takes, pair by pair within a repeat."""
    base = column(attempts, "none", "rss")

    def each(name: str) -> str:
        more = column(attempts, name, "rss")
        found = [(more[n] - base[n]) * 2**20 / number for n in sorted(more) if n in base]
        return spread(found).text() if name != "none" and found else "-"

    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "rss"),
            each(name),
            median_of(attempts, name, "start", 1),
            median_of(attempts, name, "rate"),
            median_of(attempts, name, "cpu", 2),
        ],
    )


Written = tuple[str, bytes | None, bytes | None, int, list[tuple[str, str | bytes | None]]]
"""Topic, value, key, partition and headers."""


def lanes(source: str) -> Iterator[tuple[int, bytes, TopicPartition, Lane]]:
    """Keys that no flight has, in turn over the partitions, each with its lane."""
    for number in itertools.count():
        place = TopicPartition(source, number % PARTITIONS)
        key = b"waiting-%d" % number
        yield number, key, place, lane_of(place, key) or b""


def waiting(source: str, tier: str) -> Iterator[Written]:
    """Retry records that are due tomorrow."""
    now = int(time.time() * 1000)
    for (number, key, place, lane), flight in zip(lanes(source), flights(), strict=False):
        said = {
            "due": now + DAY * 1000,
            "topic": source,
            "partition": place.partition,
            "offset": number // PARTITIONS,
            "timestamp": now,
            "attempts": 1,
            "first_failure": now,
            "reason": "handler_error",
            "error": "ConnectionError",
        }
        headers = [(f"retry.{name}", str(value)) for name, value in said.items()]
        yield tier, flight, key, place.partition, [*headers, ("retry.lane", lane)]


def fences(source: str, topic: str) -> Iterator[Written]:
    """The fences of their lanes."""
    for _, _, place, lane in lanes(source):
        record = fence_record(topic, place, lane, 0)
        yield topic, record.value, record.key, 0, []


def write(brokers: str, records: Iterable[Written]) -> None:
    """Write records."""
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.kbytes": 65536}
    )
    for topic, value, key, partition, headers in records:
        while True:
            try:
                producer.produce(topic, value, key, partition, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError("the broker did not take the records")
