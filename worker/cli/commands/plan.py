"""`worker plan`: what differs between a spec and its cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from worker.cli.exit_codes import FAILED
from worker.cli.opening import opened
from worker.cli.options import (
    SETTINGS,
    Output,
    output_option,
    planning_options,
    spec_argument,
)
from worker.cli.views import plans as views
from worker.cli.views.values import print_value
from worker.observe import logs
from worker.operate.planning import Planner


@click.command("plan", context_settings=SETTINGS)
@spec_argument()
@click.option("--check", is_flag=True, help="End with 1 where anything differs.")
@planning_options
@output_option()
def command(
    spec: Path,
    check: bool,
    principal: str | None,
    allow_delete: bool,
    output: Output,
) -> None:
    """Show what topics and rights lack, and change nothing.

    Looked at are the topics of the spec and those it implies: retry tiers and fences, redriven dead
    letters, ledgers and parking topics. `worker apply` does what is shown.

    \b
    Example:
      worker plan config/flights.yaml
      worker plan config/flights.yaml --principal User:flights --check
    """
    logs.configure("warning", "auto")
    planner = opened(spec, lambda one: Planner(one, principal=principal, allow_delete=allow_delete))
    plan = planner.plan()
    if output == "table":
        views.show_plan(plan)
    else:
        print_value(views.value_of_plan(plan), output)
    if check and not plan.is_clean:
        sys.exit(FAILED)
