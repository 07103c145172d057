"""Async handlers that wait 10 ms, 500 at a time, through a backlog of flights."""

from __future__ import annotations

import itertools
from dataclasses import asdict

from bench.backlog import through_backlog
from bench.charts import chart
from bench.cluster import flights
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
    backlog = itertools.islice(flights(), records)
    attempts = through_backlog(brokers, SYSTEMS, backlog, records, repeats, limit)
    table = by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "rate"),
            median_of(attempts, name, "cpu", 1),
            median_of(attempts, name, "rss"),
        ],
    )
    return Section(
        f"Concurrency: an async handler that waits 10 ms, {IN_FLIGHT} in flight",
        {"records": records, "repeats": repeats, "limit": limit},
        [asdict(one) for one in attempts],
        table,
        [],
        [chart("Concurrency, messages/s", attempts, "rate")],
    )
