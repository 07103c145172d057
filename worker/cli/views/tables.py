"""Figures in columns, or below each other where a terminal is too narrow for columns."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from worker.cli.terminal import is_terminal

NARROW: Final = 75
"""Columns of a terminal in which a table would be cut."""

WIDTH: Final = 120
"""Columns where there is no terminal."""


def console(*, err: bool = False) -> Console:
    """What prints as wide as its terminal is, if it has one; brackets are no markup."""
    width = None if is_terminal(sys.stderr if err else sys.stdout) else WIDTH
    return Console(stderr=err, width=width, highlight=False, markup=False)


def print_table(
    names: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int, err: bool = False
) -> None:
    """Print a table as wide as the terminal."""
    there = console(err=err)
    there.print(laid_out(names, list(rows), width=there.width, texts=texts))


def laid_out(
    names: Sequence[str], rows: Sequence[Sequence[str | Text]], *, width: int, texts: int = 1
) -> RenderableType:
    """A table whose first `texts` columns are texts and the others figures."""
    if width < NARROW:
        return Text("\n").join(line for row in rows for line in _lines(names, row))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place < texts else "right")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _lines(names: Sequence[str], row: Sequence[str | Text]) -> list[Text]:
    first, *others = (_text(cell) for cell in row)
    return [
        first,
        *(Text(f"  {name} ") + cell for name, cell in zip(names[1:], others, strict=True)),
    ]


def _text(cell: str | Text) -> Text:
    """A cell as it is: brackets in names are no markup."""
    return Text(cell) if isinstance(cell, str) else cell
