"""The page of faults names tests and scenarios that there are, and leaves no fault out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.faults.scenarios import SCENARIOS

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
SCENARIO = re.compile(r"scenario `([\w-]+)`")
REASON = re.compile(r"not covered: \w+")


@cache
def functions(module: Path) -> frozenset[str]:
    tree = ast.parse(module.read_text("utf-8"))
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, defined))


def is_there(module: str, name: str) -> bool:
    path = TESTS / module
    return path.is_file() and name in functions(path)


def test_every_fault_is_there_once() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 70))


def test_every_fault_is_held_by_something_or_says_why_not() -> None:
    held = (TEST, SCENARIO, REASON)

    assert [number for number, by in ROWS if not any(one.search(by) for one in held)] == []


def test_every_test_that_is_named_is_there() -> None:
    named = TEST.findall(PAGE)

    assert len(named) == PAGE.count("::")
    assert [f"{module}::{name}" for module, name in named if not is_there(module, name)] == []


def test_every_scenario_is_named_with_the_faults_that_it_has_happen_and_no_other() -> None:
    named = {(int(number), name) for number, by in ROWS for name in SCENARIO.findall(by)}

    assert named == {(row, one.name) for one in SCENARIOS.values() for row in one.rows}
