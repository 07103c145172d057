"""Messages per second through a backlog of flights, processor time and memory."""

from __future__ import annotations

from collections.abc import Sequence

from bench.flights import through_flights
from bench.registry import BASE
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System
from bench.table import by_system, column, median_of, middle_of, ratio_to

HEAD = [
    "system",
    "messages/s, median (range)",
    "to the bare loop",
    "CPU us/message",
    "CPU to the bare loop",
    "peak MiB",
    "first result after s",
    "records measured",
]


def measure(
    brokers: str, systems: list[System], records: int, repeats: int, limit: float
) -> Section:
    """Every system `repeats` times in turn."""
    return through_flights("Throughput", brokers, systems, table, records, repeats, limit)


def table(attempts: Sequence[Attempt]) -> str:
    """Medians and ranges; ratios are taken pair by pair within a repeat."""
    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "rate"),
            ratio_to(attempts, name, BASE, "rate"),
            median_of(attempts, name, "cpu", 2),
            ratio_to(attempts, name, BASE, "cpu"),
            f"{max(column(attempts, name, 'rss').values()):.0f}",
            middle_of(attempts, name, "start", 1),
            middle_of(attempts, name, "records"),
        ],
    )
