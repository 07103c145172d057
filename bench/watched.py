"""What it costs to be seen: the worker alone, with everything that looks at it, with a crowd."""

from __future__ import annotations

import sys
from typing import Final

from bench.flights import through_flights
from bench.section import Section
from bench.systems import Job, System, free_port, worker_on
from bench.table import compared

ALONE: Final = "worker"
HEAD: Final = [
    "system",
    "messages/s, median (range)",
    "to the worker alone",
    "CPU us/message",
    "MiB",
]


def _alone(job: Job) -> list[str]:
    return worker_on(job, free_port())


def _watched(job: Job) -> list[str]:
    port = free_port()
    return [sys.executable, "-m", "bench.watcher", str(port), *worker_on(job, port)]


def _crowded(job: Job) -> list[str]:
    port = free_port()
    return [sys.executable, "-m", "bench.crowd", str(port), *worker_on(job, port)]


SYSTEMS: Final = [
    System(ALONE, "worker, nobody asks", _alone),
    System("worker-watched", "worker, traced, scraped, its page open", _watched),
    System("worker-crowded", "worker, 200 connections that say nothing", _crowded),
]


def measure(brokers: str, records: int, repeats: int, limit: float) -> Section:
    """All `repeats` times in turn; who looks shares the machine, and is in no figure."""
    return through_flights(
        "Watched",
        brokers,
        [*SYSTEMS],
        lambda attempts: compared(attempts, HEAD, ALONE),
        records,
        repeats,
        limit,
    )
