"""`worker status`: how a running worker is, once, and whether it is ready."""

from __future__ import annotations

import sys

import click

from worker.cli.address import HERE, url_options
from worker.cli.exit_codes import FAILED
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.terminal import is_terminal
from worker.cli.views.panel import panel
from worker.cli.views.tables import console
from worker.cli.views.values import print_value
from worker.operate.watching import Stats, stats_of


@click.command("status", context_settings=SETTINGS)
@url_options("Where the worker's endpoint is, as the argument says it, too.", HERE)
@output_option()
def command(url: str, output: Output) -> None:
    """Say once how a running worker is, here or elsewhere.

    URL is that of its endpoint: `server.host` and `server.port` of its spec. The exit code is 0 if
    it is ready, 1 if it is not, with the reasons, and 69 if nobody answers.

    \b
    Example:
      worker status http://10.1.2.3:8080
      worker status --output json
    """
    stats = stats_of(url)
    if output == "table":
        _show(stats)
    else:
        print_value(stats.model_dump(by_alias=True), output)
    if not stats.ready:
        sys.exit(FAILED)


def _show(stats: Stats) -> None:
    """Print it, on a terminal as much as one screen has room for."""
    there = console()
    height = there.height if is_terminal(sys.stdout) else None
    there.print(panel(stats, None, there.width, height))
