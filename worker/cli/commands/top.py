"""`worker top`: what the page shows, in a terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from worker.cli.address import HERE, url_options
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.terminal import is_terminal
from worker.cli.views.panel import panel
from worker.cli.views.values import print_value
from worker.errors import NoWorker
from worker.operate.watching import Past, Stats, past_of, stats_of

EVERY: Final = 2.0
"""Seconds between two looks."""
WIDTH: Final = 160
"""Columns where standard output is no terminal."""


@click.command("top", context_settings=SETTINGS)
@url_options("Where the worker's endpoint is, as the argument says it, too.", HERE)
@output_option()
def command(url: str, output: Output) -> None:
    """Show a running worker, here or elsewhere, in the terminal.

    URL is that of its endpoint: `server.host` and `server.port` of its spec. It is asked each two
    seconds until q or Ctrl-C; where standard output is no terminal, and for programs, once.

    \b
    Example:
      worker top http://10.1.2.3:8080
    """
    stats, past = stats_of(url), _past(url)
    if output != "table":
        history = None if past is None else past.pipelines
        print_value({**stats.model_dump(by_alias=True), "history": history}, output)
        return
    if not is_terminal(sys.stdout):
        Console(width=WIDTH, highlight=False).print(panel(stats, past, WIDTH))
        return
    with suppress(KeyboardInterrupt), _keys():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _watch(url, stats, past)


def _watch(url: str, stats: Stats, past: Past | None) -> None:
    console = Console(highlight=False)
    away: str | None = None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            shown = panel(stats, past, console.width, console.height, away)
            live.update(shown, refresh=True)
            if _is_over(EVERY):
                return
            try:
                stats, past, away = stats_of(url), _past(url), None
            except NoWorker as error:
                away = away or f"{error}, since {time.strftime('%H:%M:%S')}"


def _past(url: str) -> Past | None:
    """None of a worker that has no history yet, as one of an earlier release."""
    try:
        return past_of(url)
    except NoWorker:
        return None


@contextmanager
def _keys() -> Iterator[None]:
    """Take each key as it comes, and show none."""
    if not is_terminal(sys.stdin):
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_over(seconds: float) -> bool:
    """Wait, and say whether q was pressed meanwhile."""
    if not is_terminal(sys.stdin):
        time.sleep(seconds)
        return False
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or b"q" in keys:
                return True
    return False
