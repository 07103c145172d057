"""Systems on a backlog of flights, as a section of the results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict

from bench.backlog import through_backlog
from bench.charts import chart
from bench.cluster import flights
from bench.rounds import Attempt
from bench.section import Section
from bench.systems import System


def through_flights(
    title: str,
    brokers: str,
    systems: list[System],
    table: Callable[[Sequence[Attempt]], str],
    records: int,
    repeats: int,
    limit: float,
) -> Section:
    """Every system `repeats` times in turn, with a chart of the rates."""
    backlog = itertools.islice(flights(), records)
    attempts = through_backlog(brokers, systems, backlog, records, repeats, limit)
    return Section(
        title,
        {"records": records, "repeats": repeats, "limit": limit},
        [asdict(one) for one in attempts],
        table(attempts),
        [],
        [chart(f"{title.partition(':')[0]}, messages/s", attempts, "rate")],
    )
