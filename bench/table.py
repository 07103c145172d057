"""Markdown tables of attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from bench.figures import ratios, spread
from bench.rounds import Attempt

NOTHING = "-"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; `|` and line ends in cells, as texts of errors have them, are made harmless."""
    lines = [head, ["--"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines).replace(
        "| -- ", "|--"
    )


def by_system(
    attempts: Sequence[Attempt], head: Sequence[str], cells: Callable[[str], Sequence[str]]
) -> str:
    """A row for each system in the order of the attempts; one that never worked has its reason."""
    rows = []
    for name, label in {one.system: one.label for one in attempts}.items():
        mine = [one for one in attempts if one.system == name]
        worked = [one for one in mine if one.figures]
        reasons = [one.reason for one in mine if one.reason]
        if not worked:
            rows.append([label, f"not measured: {reasons[0]}", *[NOTHING] * (len(head) - 2)])
            continue
        failures = ""
        if reasons:
            failures = f"; {len(reasons)} of {len(mine)} failed: {reasons[0]}"
        rows.append([label + failures, *cells(name)])
    return markdown(head, rows)


def compared(attempts: Sequence[Attempt], head: Sequence[str], base: str) -> str:
    """Rates, also as ratios to one of the systems, and what each message takes."""
    return by_system(
        attempts,
        head,
        lambda name: [
            median_of(attempts, name, "rate"),
            ratio_to(attempts, name, base, "rate"),
            median_of(attempts, name, "cpu"),
            median_of(attempts, name, "rss"),
        ],
    )


def column(attempts: Iterable[Attempt], system: str, figure: str) -> dict[int, float]:
    """One figure of a system by repeat."""
    mine = (one for one in attempts if one.system == system and figure in one.figures)
    return {one.repeat: one.figures[figure] for one in mine}


def median_of(attempts: Sequence[Attempt], system: str, figure: str, digits: int = 0) -> str:
    """The median and the range of a figure."""
    return spread(list(column(attempts, system, figure).values())).text(digits)


def middle_of(attempts: Sequence[Attempt], system: str, figure: str, digits: int = 0) -> str:
    """The median alone."""
    return f"{median(column(attempts, system, figure).values()):,.{digits}f}"


def ratio_to(attempts: Sequence[Attempt], system: str, base: str, figure: str) -> str:
    """The ratio to another system, pair by pair; nothing when that one was not measured."""
    found = ratios(column(attempts, system, figure), column(attempts, base, figure))
    return spread(found).text(2) if found else NOTHING


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
