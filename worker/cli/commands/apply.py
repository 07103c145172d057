"""`worker apply`: the cluster made what a spec says."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from worker.cli.confirming import confirm
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
from worker.errors import WorkerError
from worker.flow.layout import Step, subject_of
from worker.observe import logs
from worker.operate.planning import Plan, Planner


@click.command("apply", context_settings=SETTINGS)
@spec_argument()
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Do not ask.")
@planning_options
@output_option()
def command(
    spec: Path,
    yes: bool,
    principal: str | None,
    allow_delete: bool,
    output: Output,
) -> None:
    """Make topics and rights what the spec says, as `worker plan` shows it.

    Partitions are never taken away. Where one thing is refused the others are done all the same,
    and the command ends with 1.

    \b
    Example:
      worker apply config/flights.yaml
      worker apply config/flights.yaml --principal User:flights --yes
    """
    logs.configure("warning", "auto")
    planner = opened(spec, lambda one: Planner(one, principal=principal, allow_delete=allow_delete))
    plan = planner.plan()
    views.show_plan(plan, err=True)
    if plan.steps:
        confirm(f"Make these changes ({len(plan.steps)})?", yes=yes, look="worker plan")
    if not carry_out(planner, plan, output):
        sys.exit(FAILED)


def carry_out(planner: Planner, plan: Plan, output: Output) -> bool:
    """Do it, and tell it as it is done; returns whether all was."""
    done: list[views.Done] = []
    try:
        for step, error in planner.apply(plan):
            done.append((step, error))
            if output == "table":
                views.show_done(step, error)
    except (WorkerError, KeyboardInterrupt):
        _tell_rest(_untried(plan, done), output)
        raise
    finally:
        if output != "table":
            print_value(views.value_of_done(done, _untried(plan, done)), output)
    return all(error is None for _, error in done)


def _untried(plan: Plan, done: list[views.Done]) -> list[Step]:
    tried = {(type(step), subject_of(step)) for step, _ in done}
    return [step for step in plan.steps if (type(step), subject_of(step)) not in tried]


def _tell_rest(steps: list[Step], output: Output) -> None:
    if output == "table":
        for step in steps:
            views.show_done(step, "not tried")
