"""Exactly once: the worker beside the bare client and Kafka Streams, all in transactions."""

from __future__ import annotations

import sys
from typing import Final

from bench.flights import through_flights
from bench.kafka_streams import PROCESSORS, streams
from bench.latency import at
from bench.section import Section
from bench.systems import Job, System, worker
from bench.table import compared

BARE: Final = "bare-transactions"
EXACTLY: Final = ("delivery: exactly_once", "transaction: {messages: 50000}")
"""By time alone, as the others do."""
HEAD: Final = [
    "system",
    "messages/s, median (range)",
    "to the bare loop",
    "CPU us/message",
    "peak MiB",
]


def _bare(job: Job) -> list[str]:
    return [sys.executable, "-m", "bench.bare_transactions", *job.arguments()[:4]]


SYSTEMS: Final = [
    System(BARE, "bare loop, transactions of 100 ms", _bare),
    System("worker-exactly", "worker", worker("seen", EXACTLY)),
    System("worker-exactly-batch", "worker, batch handler", worker("seen_batch", EXACTLY)),
    System(
        "kafka-streams-exactly",
        "Kafka Streams",
        streams(PROCESSORS, "exactly_once_v2", 100),
    ),
    System(
        "kafka-streams-exactly-1",
        "Kafka Streams, one thread",
        streams(1, "exactly_once_v2", 100),
    ),
]


RATE: Final = 1_000
"""Messages per second at which the latency is measured."""


def measure(brokers: str, records: int, repeats: int, limit: float, seconds: int) -> list[Section]:
    """Every system `repeats` times in turn; all commit about every 100 ms."""
    fast = through_flights(
        "Exactly once",
        brokers,
        SYSTEMS,
        lambda attempts: compared(attempts, HEAD, BARE),
        records,
        repeats,
        limit,
    )
    return [fast, at(brokers, [*SYSTEMS], RATE, seconds, repeats, " in transactions")]
