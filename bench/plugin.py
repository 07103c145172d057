"""What the pytest plugin adds to a run that does not use it, and until a broker is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.commands import timed
from bench.figures import spread
from bench.rounds import Attempt, Subject, rounds
from bench.section import Section
from bench.table import NOTHING, by_system, column, median_of

WITHOUT: Final = "pytest-without"
READY: Final = "READY"
HEAD: Final = [
    "run",
    "ms, median (range)",
    "that the plugin adds, pair by pair",
    "CPU ms",
    "that the plugin adds",
]

PLAIN: Final = "def test_it(): ...\n"
WITH_BROKER: Final = f"""\
import time
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    begun = time.monotonic()
    found = yield
    if fixturedef.argname == "kafka_broker":
        print("{READY}", time.monotonic() - begun)
    return found
"""


@dataclass(frozen=True)
class Case(Subject):
    """A run of pytest with one test."""

    arguments: Sequence[str]
    test: str = PLAIN
    conftest: str = ""


CASES: Final = [
    Case(WITHOUT, "one empty test, without the plugin", ["-p", "no:worker.testing.plugin"]),
    Case("pytest-with", "the same, with it", []),
    Case(
        "kafka-broker",
        "`kafka_broker`, until it is ready",
        ["-s"],
        "def test_it(kafka_broker): ...\n",
        WITH_BROKER,
    ),
]


def measure(repeats: int) -> Section:
    """Every case `repeats` times in turn, after one run each that nothing is known of."""
    with TemporaryDirectory() as folder:
        for case in CASES:
            figures(case, Path(folder))
        attempts = rounds(CASES, repeats, lambda case, _: figures(case, Path(folder)))
    return Section(
        "The pytest plugin",
        {"repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
    )


def table(attempts: Sequence[Attempt]) -> str:
    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "ms"),
            _added(attempts, name, "ms"),
            _processor(attempts, name),
            _added(attempts, name, "cpu"),
        ],
    )


def _processor(attempts: Sequence[Attempt], name: str) -> str:
    return median_of(attempts, name, "cpu") if column(attempts, name, "cpu") else NOTHING


def _added(attempts: Sequence[Attempt], name: str, figure: str) -> str:
    if name != "pytest-with":
        return NOTHING
    own, base = column(attempts, name, figure), column(attempts, WITHOUT, figure)
    return spread([own[repeat] - base[repeat] for repeat in own if repeat in base]).text(1)


def figures(case: Case, root: Path) -> dict[str, float]:
    """Milliseconds of a run that passes, or until its broker is ready."""
    folder = root / case.name
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(case.test)
    (folder / "conftest.py").write_text(case.conftest)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cloudcoil\n")
    environ = {name: value for name, value in os.environ.items() if name != "KAFKA_BROKERS"}
    done = timed([sys.executable, "-m", "pytest", "-q", *case.arguments], folder, environ)
    told = [line.split()[1] for line in done.output.splitlines() if line.startswith(READY)]
    return {"ms": float(told[0]) * 1e3} if told else done.figures
