"""Figures in columns, or below each other."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from worker.cli.views.tables import NARROW, laid_out

NAMES = ("pipeline", "status", "in", "dead-lettered")
ROWS = [("delays", "running", "1,234", "34 (rejected 34)"), ("[b]alerts", "stopped", "0", "0")]


def printed(width: int) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=width).print(laid_out(NAMES, ROWS, width=width, texts=2))
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_where_there_is_room_figures_stand_in_columns() -> None:
    assert printed(NARROW) == [
        "pipeline  status     in    dead-lettered",
        "delays    running 1,234 34 (rejected 34)",
        "[b]alerts stopped     0                0",
    ]


@pytest.mark.parametrize("width", [40, NARROW - 1])
def test_in_a_narrow_terminal_they_stand_below_each_other_and_nothing_is_cut(width: int) -> None:
    assert printed(width) == [
        "delays",
        "  status running",
        "  in 1,234",
        "  dead-lettered 34 (rejected 34)",
        "[b]alerts",
        "  status stopped",
        "  in 0",
        "  dead-lettered 0",
    ]
