"""`worker graph`: the topics and pipelines of a spec as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import click

from worker.cli.options import SETTINGS, spec_argument
from worker.cli.views.mermaid import mermaid
from worker.cli.views.svg import svg
from worker.flow.graph import graph_of
from worker.spec import load

Format = Literal["mermaid", "svg"]


@click.command("graph", context_settings=SETTINGS)
@spec_argument()
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "svg"]),
    default="mermaid",
    allow_from_autoenv=False,
    help="Text that GitHub, GitLab and others draw, or a picture for light and dark pages.",
)
def command(spec: Path, form: Format) -> None:
    """Draw the topics and pipelines of a spec.

    Retry topics and dead letters are drawn, too. Neither brokers nor handlers are needed.

    \b
    Example:
      worker graph config/flights.yaml --format svg > flights.svg
    """
    graph = graph_of(load(spec, os.environ).spec)
    click.echo(svg(graph) if form == "svg" else mermaid(graph))
