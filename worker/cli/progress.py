"""How far long work has come, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is told how much is done, and of how much; where nobody looks nothing is shown."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _every: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def tell(done: int, every: int) -> None:
            bar.length = every
            bar.update(done - bar.pos)

        yield tell
