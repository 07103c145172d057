"""How far long work has come, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from worker.cli.terminal import is_terminal


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what is told how much is done, and of how much; where nobody looks nothing is shown."""
    if not is_terminal(sys.stderr):
        yield lambda _done, _every: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def tell(done: int, every: int) -> None:
            bar.length = every
            bar.update(done - bar.pos)

        yield tell
