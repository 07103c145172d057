"""Async handlers that wait 10 ms, 500 at a time, through a backlog of flights."""

from __future__ import annotations

from collections.abc import Sequence

from bench.flights import through_flights
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System, worker
from bench.table import by_system, median_of

IN_FLIGHT = 500
HEAD = ["ordering", "messages/s, median (range)", "CPU us/message", "peak MiB"]
SYSTEMS = [
    System(
        f"worker-{ordering}",
        label,
        worker("seen_later", [f"ordering: {ordering}", f"concurrency: {IN_FLIGHT}"]),
    )
    for ordering, label in (("key", "key, 1,000 of them"), ("none", "none"))
]


def measure(brokers: str, records: int, repeats: int, limit: float) -> Section:
    """Each ordering `repeats` times in turn."""
    return through_flights(
        f"Concurrency: an async handler that waits 10 ms, {IN_FLIGHT} in flight",
        brokers,
        SYSTEMS,
        table,
        records,
        repeats,
        limit,
    )


def table(attempts: Sequence[Attempt]) -> str:
    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "rate"),
            median_of(attempts, name, "cpu", 1),
            median_of(attempts, name, "rss"),
        ],
    )
