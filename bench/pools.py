"""Where a handler that computes runs: in threads, in a pool of processes, in several workers."""

from __future__ import annotations

from collections.abc import Sequence

from bench.flights import through_flights
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System, worker
from bench.table import compared

HEAD = ["handlers", "messages/s, median (range)", "to threads", "CPU us/message", "peak MiB"]
HANDLER = "seen_after_much_work"
POOL = ["pool: process", "concurrency: 2"]
SYSTEMS = [
    System("threads", "in threads", worker(HANDLER)),
    System("pool", "`pool: process`, 2", worker(HANDLER, POOL)),
    System("pool-key", "the same, `ordering: key`", worker(HANDLER, [*POOL, "ordering: key"])),
    System("processes", "`--processes 2`", worker(HANDLER, processes=2)),
]


def measure(brokers: str, records: int, repeats: int, limit: float) -> Section:
    """Each of them `repeats` times in turn."""
    return through_flights(
        "Pools: a handler that computes for about 1 ms",
        brokers,
        SYSTEMS,
        table,
        records,
        repeats,
        limit,
    )


def table(attempts: Sequence[Attempt]) -> str:
    return compared(attempts, HEAD, SYSTEMS[0].name)
