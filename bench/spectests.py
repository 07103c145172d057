"""How long `worker test` takes, from the start of its process to its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.commands import timed
from bench.rounds import Attempt, Subject, rounds
from bench.section import Section
from bench.table import by_system, median_of

HEAD: Final = ["tests", "ms, median (range)", "CPU ms"]

HANDLERS: Final = """\
from worker import handler

@handler
def step(order: dict) -> dict:
    return {**order, "steps": order.get("steps", 0) + 1}
"""
SPEC: Final = """\
version: 1
name: bench
kafka: {brokers: "localhost:1"}
handlers: [bench_handlers]
pipelines:
  first:
    from: orders
    handler: step
    to: halfway
    ordering: key
    retry: {attempts: 3, topics: [1m, 10m]}
    dead_letter: orders.dlq
  second: {from: halfway, handler: step, to: done, delivery: exactly_once}
"""

GIVEN: Final = "given: {orders: [{key: a, value: {n: 1}}, {key: b, value: {n: 2}}]}"
DONE: Final = "expect: {done: [{key: a, contains: {steps: 2}}, {key: b, contains: {n: 2}}]}"

RESULTS: Final = f"{GIVEN}\n    {DONE}\n    committed: {{first: {{orders: 2}}}}"
RETRIES: Final = f"""\
{GIVEN}
    faults: [{{raise: ConnectionError, at: {{topic: orders, key: a}}, times: 4}}]
    expect: {{done: [{{key: b}}, {{key: a, contains: {{steps: 2}}}}]}}
    retries: [{{pipeline: first, key: a, delays: [200ms, 400ms, 1m, 10m]}}]"""
LETTERS: Final = f"""\
{GIVEN}
    faults: [{{raise: ConnectionError, at: {{topic: orders, key: a}}, times: always}}]
    expect: {{done: [{{key: b}}]}}
    dead_letters: [{{key: a, reason: handler_error, attempts: 5}}]"""
CRASHES: Final = f"""\
{GIVEN}
    faults: [{{kill: sent, at: {{topic: halfway, key: a}}}}, {{revoke: 5s, at: {{key: b}}}}]
    {DONE}"""
KINDS: Final = (RESULTS, RETRIES, LETTERS, CRASHES)


@dataclass(frozen=True)
class Case(Subject):
    """A file with so many tests of these kinds."""

    number: int
    kinds: Sequence[str]


CASES: Final = [
    Case("one", "one", 1, [RESULTS]),
    Case("mixed", "100, of all four kinds", 100, KINDS),
    Case("results", "100: results and offsets", 100, [RESULTS]),
    Case("retries", "100: four attempts in eleven minutes", 100, [RETRIES]),
    Case("letters", "100: five attempts in vain, a dead letter", 100, [LETTERS]),
    Case("crashes", "100: a worker killed, a partition revoked", 100, [CRASHES]),
]


def measure(repeats: int) -> Section:
    """Every case `repeats` times in turn, after one run each that nothing is known of."""
    with TemporaryDirectory() as folder:
        for case in CASES:
            figures(case, Path(folder))
        attempts = rounds(CASES, repeats, lambda case, _: figures(case, Path(folder)))
    return Section(
        "Tests of a spec",
        {"repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
    )


def table(attempts: Sequence[Attempt]) -> str:
    return by_system(
        attempts,
        HEAD,
        lambda name: [median_of(attempts, name, "ms"), median_of(attempts, name, "cpu")],
    )


def figures(case: Case, root: Path) -> dict[str, float]:
    """Milliseconds of a run that passes, by the clock and of processors."""
    folder = root / case.name
    folder.mkdir(exist_ok=True)
    (folder / "bench_handlers.py").write_text(HANDLERS)
    (folder / "bench.yaml").write_text(SPEC)
    (folder / "bench.test.yaml").write_text(tests_of(case))
    return timed([sys.executable, "-m", "worker", "test", "bench.yaml"], folder).figures


def tests_of(case: Case) -> str:
    """The text of the file."""
    kinds = enumerate(islice(cycle(case.kinds), case.number))
    tests = "".join(f"  test {number}:\n    {kind}\n" for number, kind in kinds)
    return f"version: 1\nspec: bench.yaml\ntests:\n{tests}"
