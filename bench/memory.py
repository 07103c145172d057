"""Memory at the peak, and the rate, on a backlog of large records."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict

from bench.backlog import through_backlog
from bench.charts import chart
from bench.cluster import padded
from bench.registry import BASE
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System
from bench.table import by_system, median_of, middle_of, ratio_to

SIZE = 10_000
"""Bytes of a record."""
HEAD = ["system", "peak MiB, median (range)", "messages/s", "to the bare loop", "records measured"]


def measure(
    brokers: str, systems: list[System], megabytes: int, repeats: int, limit: float
) -> Section:
    """Every system `repeats` times in turn on a backlog of so many megabytes."""
    number = megabytes * 1_000_000 // SIZE
    backlog = itertools.islice(padded(SIZE), number)
    attempts = through_backlog(brokers, systems, backlog, number, repeats, limit)
    return Section(
        "Memory",
        {"backlog": megabytes, "record": SIZE, "repeats": repeats, "limit": limit},
        [asdict(one) for one in attempts],
        table(attempts),
        [],
        [chart(f"Peak memory on {megabytes:,} MB of 10 KB records, MiB", attempts, "rss")],
    )


def table(attempts: Sequence[Attempt]) -> str:
    """Medians and ranges."""
    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "rss"),
            median_of(attempts, name, "rate"),
            ratio_to(attempts, name, BASE, "rate"),
            middle_of(attempts, name, "records"),
        ],
    )
