"""The page of faults names tests and scenarios that there are, and leaves no fault out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SCENARIOS = TESTS / "faults" / "scenarios.py"
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


def scenarios() -> set[str]:
    """The texts in the value of `SCENARIOS`."""
    for node in ast.parse(SCENARIOS.read_text("utf-8")).body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        targets = node.targets if isinstance(node, ast.Assign) else [target]
        if any(isinstance(one, ast.Name) and one.id == "SCENARIOS" for one in targets):
            values = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
            return {value for value in values if isinstance(value, str)}
    raise AssertionError(f"no SCENARIOS in {SCENARIOS}")


def test_every_fault_is_there_once() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 70))


def test_every_fault_is_held_by_something_or_says_why_not() -> None:
    held = (TEST, SCENARIO, REASON)

    assert [number for number, by in ROWS if not any(one.search(by) for one in held)] == []


def test_every_test_that_is_named_is_there() -> None:
    named = TEST.findall(PAGE)

    assert len(named) == PAGE.count("::")
    assert [f"{module}::{name}" for module, name in named if not is_there(module, name)] == []


@pytest.mark.skipif(not SCENARIOS.exists(), reason="there are no scenarios in this checkout")
def test_every_scenario_that_is_named_is_there() -> None:
    assert set(SCENARIO.findall(PAGE)) - scenarios() == set()
