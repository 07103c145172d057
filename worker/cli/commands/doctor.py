"""`worker doctor`: why lag grows, and what else is wrong."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from worker.cli.address import url_options
from worker.cli.exit_codes import FAILED
from worker.cli.opening import opened
from worker.cli.options import SETTINGS, Output, output_option, spec_argument
from worker.cli.progress import progress
from worker.cli.views import findings as views
from worker.cli.views.values import print_value
from worker.observe import logs
from worker.operate.diagnosis import Doctor
from worker.operate.watching import url_of


@click.command("doctor", context_settings=SETTINGS)
@spec_argument()
@url_options("Where the worker's endpoint is; by default where the spec says.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    metavar="N",
    help="Time between two looks, from which rates are made.",
)
@output_option()
def command(spec: Path, url: str | None, seconds: float, output: Output) -> None:
    """Find out why lag grows, and what else is wrong.

    The cluster, the topics, groups and rights of a spec are looked at, and the worker if it
    answers; nothing is written, and no group is joined. The exit code is 1 if there are problems.

    \b
    Example:
      worker doctor config/flights.yaml --url http://10.1.2.3:8080
    """
    logs.configure("warning", "auto")
    doctor = opened(spec, lambda document: Doctor(document, url or url_of(document.spec.server)))
    found = doctor.diagnose(seconds, _wait)
    if output == "table":
        views.show(found)
    else:
        print_value(views.value_of(found), output)
    if views.has_problems(found):
        sys.exit(FAILED)


def _wait(seconds: float) -> None:
    """Wait, and show on a terminal that something goes on."""
    steps = max(1, round(seconds * 5))
    with progress("looking") as tell:
        for step in range(steps):
            time.sleep(seconds / steps)
            tell(step + 1, steps)
