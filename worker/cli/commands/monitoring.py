"""`worker monitoring`: the dashboard and the alert rules that ship with the worker."""

from __future__ import annotations

from typing import get_args

import click

from worker.cli.options import SETTINGS
from worker.observe.monitoring import What, monitoring_text


@click.command("monitoring", context_settings=SETTINGS)
@click.argument("what", type=click.Choice(get_args(What)))
def command(what: What) -> None:
    """Print the Grafana dashboard or the Prometheus alert rules.

    \b
    Example:
      worker monitoring dashboard > stream-worker.json
      worker monitoring alerts > /etc/prometheus/stream-worker.yaml
    """
    click.echo(monitoring_text(what), nl=False)
