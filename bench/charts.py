"""Charts of attempts."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import spread
from bench.rounds import Attempt
from bench.section import Bar, Chart
from bench.table import column


def chart(title: str, attempts: Sequence[Attempt], figure: str, digits: int = 0) -> Chart:
    """A bar for each system; one that was not measured has a note."""
    bars = []
    for system, label in {one.system: one.label for one in attempts}.items():
        found = list(column(attempts, system, figure).values())
        bars.append(Bar(label, spread(found) if found else None, "" if found else "not measured"))
    return Chart(title, digits, bars)
