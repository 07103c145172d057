"""The page of security answers every point with tests that there are, or says why there is none."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_reliability import TEST, is_there

PAGE = (Path(__file__).parents[1] / "docs" / "security.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)


def test_every_point_is_there_once() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 46))


def test_every_point_is_held_by_a_test() -> None:
    assert [number for number, by in ROWS if not TEST.search(by)] == []


def test_every_test_that_is_named_is_there() -> None:
    named = TEST.findall(PAGE)

    assert len(named) == PAGE.count("::")
    assert [f"{module}::{name}" for module, name in named if not is_there(module, name)] == []
