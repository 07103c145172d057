"""How long it takes to make the text of a scrape, by the number of partitions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.process import ROOT
from bench.rounds import Attempt, Subject, rounds
from bench.section import Section
from bench.table import by_system, median_of

TIMES = 50
"""Scrapes in a process, of which the median and the longest count."""
HEAD = ["scrape", "ms, median (range)", "ms, the longest of 50", "lines"]


@dataclass(frozen=True)
class Case(Subject):
    """A worker with so many partitions in ten pipelines, and six brokers."""

    partitions: int


CASES = [Case(f"scrape-{number}", f"{number} partitions", number) for number in (50, 500, 5_000)]


def measure(repeats: int) -> Section:
    """Every case `repeats` times in turn, without a broker and with nothing else at work."""
    attempts = rounds(CASES, repeats, lambda case, _: _figures(case.partitions))
    return Section(
        "Scrape: the text of /metrics",
        {"scrapes": TIMES, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
    )


def table(attempts: Sequence[Attempt]) -> str:
    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "ms", 1),
            median_of(attempts, name, "longest", 1),
            median_of(attempts, name, "lines", 0),
        ],
    )


def _figures(partitions: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.scrape_loop", str(partitions), str(TIMES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    milliseconds = [one * 1e3 for one in told["seconds"]]
    return {"ms": median(milliseconds), "longest": max(milliseconds), "lines": told["lines"]}
