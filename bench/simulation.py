"""How long `worker simulate` takes for a thousand runs of a thousand messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.commands import timed
from bench.rounds import Attempt, Failed, Subject, rounds
from bench.section import Section
from bench.table import by_system, median_of

RUNS: Final = 1_000
MESSAGES: Final = 1_000
HEAD: Final = [f"{RUNS:,} runs of {MESSAGES:,} messages", "s, median (range)"]

SPEC: Final = """\
version: 1
name: bench
kafka: {brokers: "localhost:1"}
handlers: [handlers]
pipelines:
  one: {from: in, handler: handle, to: out, dead_letter: dlq%s}
"""


@dataclass(frozen=True)
class Case(Subject):
    """A pipeline with these settings."""

    settings: str


CASES: Final = [
    Case("partition", "a pipeline, at least once", ""),
    Case("key", "`ordering: key`", ", ordering: key"),
    Case("exact", "`delivery: exactly_once`", ", delivery: exactly_once"),
]


def measure(repeats: int) -> Section:
    """Every case `repeats` times in turn."""
    with TemporaryDirectory() as folder:
        attempts = rounds(CASES, repeats, lambda case, _: figures(case, Path(folder)))
    return Section(
        "The simulator",
        {"runs": RUNS, "messages": MESSAGES, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
    )


def table(attempts: Sequence[Attempt]) -> str:
    return by_system(attempts, HEAD, lambda name: [median_of(attempts, name, "s", 1)])


def figures(case: Case, folder: Path, runs: int = RUNS) -> dict[str, float]:
    """Seconds of runs that break no promise."""
    spec = folder / f"{case.name}.yaml"
    spec.write_text(SPEC % case.settings)
    command = [sys.executable, "-m", "worker", "simulate", str(spec), "--seeds", str(runs)]
    command += ["--messages", str(MESSAGES), "--output", "json"]
    done = timed(command, folder)
    if (made := json.loads(done.output)["runs"]) != runs:
        raise Failed(f"{made} runs instead of {runs}")
    return {"s": done.seconds}
