"""What lanes by key take of time for a message, and whether keys that come and go leave memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.process import ROOT
from bench.rounds import Attempt, Subject, rounds
from bench.section import Section
from bench.table import by_system, median_of

MESSAGES = 300_000
DIFFERENT = 5_000_000
"""Messages whose keys all differ, while memory is looked at so many times:"""
STEPS = 10
HEAD = ["lanes", "us/message, median (range)"]


@dataclass(frozen=True)
class Case(Subject):
    """Lanes, or a plain queue, with so many keys and so many messages in a run."""

    arguments: tuple[str, ...]


CASES = [
    Case(
        f"{kind}-{keys}-{limit}",
        f"{kind}, {keys:,} keys, runs of {limit}",
        (kind, str(keys), str(limit), str(MESSAGES)),
    )
    for kind, keys in (("deque", 1_000), *(("lanes", n) for n in (1_000, 10_000, 100_000)))
    for limit in (1, 100)
]


def measure(repeats: int) -> Section:
    """Every case `repeats` times in turn, without a broker; then memory once."""
    attempts = rounds(CASES, repeats, lambda case, _: {"us": _loop("time", *case.arguments) * 1e6})
    memory = _loop("memory", str(DIFFERENT), str(STEPS))
    note = (
        f"Memory over {DIFFERENT:,} messages whose keys all differ, after each tenth, in MiB: "
        + ", ".join(f"{one:.0f}" for one in memory)
    )
    return Section(
        "Lanes: bookkeeping alone, 10,000 messages in them",
        {"messages": MESSAGES, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
        [note],
    )


def table(attempts: Sequence[Attempt]) -> str:
    return by_system(attempts, HEAD, lambda name: [median_of(attempts, name, "us", 2)])


def _loop(*arguments: str) -> Any:
    command = [sys.executable, "-m", "bench.lane_loop", *arguments]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
