"""How a worker's rate changes with the partitions of its source, the payload, and its pipelines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Final

from bench.backlog import through_backlog
from bench.cluster import PARTITIONS, flights, padded
from bench.flights import through_flights
from bench.registry import BASE, by_name
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System, worker
from bench.table import by_system, compared, median_of, ratio_to

SOURCES: Final = (1, 4, 16, 64)
SIZES: Final = (500, 1_000, 4_000, 10_000)
"""Bytes of a payload."""
LOAD: Final = 1_000_000_000
"""Bytes of all payloads, at most."""
PIPELINES: Final = [
    System(f"worker-{number}", f"{number}", worker("seen", pipelines=number))
    for number in (1, 2, 4, 8)
]
HEAD: Final = ["messages/s, median (range)", "to the bare loop", "CPU us/message", "peak MiB"]


def measure(brokers: str, records: int, repeats: int, limit: float) -> list[Section]:
    """A section for each."""
    shape: dict[str, object] = {"records": records, "repeats": repeats, "limit": limit}

    def beside(case: str, payloads: Iterator[bytes], number: int, partitions: int) -> list[Attempt]:
        """The bare loop and the worker in one case, by names of their own."""
        systems = [by_name(BASE), by_name("worker")]
        backlog = itertools.islice(payloads, number)
        attempts = through_backlog(brokers, systems, backlog, number, repeats, limit, partitions)
        return [replace(one, system=f"{one.system} {case}", label=case) for one in attempts]

    by_partitions = [
        one for number in SOURCES for one in beside(f"{number}", flights(), records, number)
    ]
    by_size = [
        one
        for size in SIZES
        for one in beside(f"{size:,}", padded(size), min(records, LOAD // size), PARTITIONS)
    ]
    return [
        _section("Growth: partitions of the source", "partitions", shape, by_partitions),
        _section("Growth: payload", "bytes", shape, by_size),
        through_flights(
            "Growth: pipelines in a process",
            brokers,
            PIPELINES,
            lambda attempts: compared(
                attempts, ["pipelines", HEAD[0], "to one", *HEAD[2:]], PIPELINES[0].name
            ),
            records,
            repeats,
            limit,
        ),
    ]


def _section(
    title: str, what: str, shape: dict[str, object], attempts: Sequence[Attempt]
) -> Section:
    table = _beside_bare(attempts, what)
    return Section(title, shape, [asdict(one) for one in attempts], table, [], [])


def _beside_bare(attempts: Sequence[Attempt], what: str) -> str:
    workers = [one for one in attempts if one.system.startswith("worker ")]
    return by_system(
        workers,
        [what, *HEAD],
        lambda name: [
            median_of(attempts, name, "rate"),
            ratio_to(attempts, name, name.replace("worker", BASE), "rate"),
            median_of(attempts, name, "cpu", 2),
            median_of(attempts, name, "rss"),
        ],
    )
