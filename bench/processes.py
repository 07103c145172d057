"""One worker as 1, 2 and 4 processes, with a handler that computes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.flights import through_flights
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System, worker
from bench.table import compared

HEAD = ["processes", "messages/s, median (range)", "to one", "CPU us/message", "peak MiB"]
NUMBERS = (1, 2, 4)
SYSTEMS = [
    System(f"worker-{number}", str(number), worker("seen_after_work", processes=number))
    for number in NUMBERS
]


def measure(brokers: str, records: int, repeats: int, limit: float) -> Section:
    """Each number `repeats` times in turn."""
    return through_flights(
        "Processes: a handler that computes for about 0.15 ms",
        brokers,
        SYSTEMS,
        table,
        records,
        repeats,
        limit,
    )


def table(attempts: Sequence[Attempt]) -> str:
    return compared(attempts, HEAD, SYSTEMS[0].name)
