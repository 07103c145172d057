"""What `worker simulate` prints, for people and for programs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from worker.cli.terminal import is_terminal
from worker.observe.text import escaped
from worker.spec import as_yaml
from worker.testing.simulation.campaign import Campaign
from worker.testing.simulation.promises import Broken, broken
from worker.testing.simulation.schedule import Schedule
from worker.testing.simulation.telling import test_of, timeline

LISTED: Final = 10
"""Seeds and breaches that are listed for people."""

Found = Sequence[tuple[int, Sequence[Broken]]]


@dataclass(frozen=True, slots=True)
class Case:
    """The shortest run that breaks a promise."""

    schedule: Schedule
    broken: Sequence[Broken]
    timeline: Sequence[str]
    test: dict[str, Any]
    """A file of tests that repeats it."""


def tell_seed(seed: int, breach: Broken) -> None:
    """Tell of a seed on standard error, below how far the search has come."""
    lead = "\n" if is_terminal(sys.stderr) else ""
    click.echo(f"{lead}seed {seed} breaks a promise: {escaped(str(breach))}", err=True)


def case_of(campaign: Campaign, seed: int, breaches: Sequence[Broken]) -> Case:
    """The shortest run that breaks what the run of a seed does."""
    schedule = campaign.shortest(campaign.schedule(seed))
    logging.disable(logging.NOTSET)
    history = campaign.told(schedule)
    logging.disable()
    name = f"{breaches[0].promise} (seed {seed})"
    test = {
        "version": 1,
        "spec": campaign.spec.name,
        "tests": {name: {"schedule": test_of(schedule, handlers=campaign.handlers)}},
    }
    return Case(schedule, broken(history), [*timeline(history)], test)


def show(
    campaign: Campaign, seeds: Sequence[int], found: Found, case: Case | None, seconds: float
) -> None:
    """Print what was found, and the shortest run that shows it."""
    if case is not None:
        _show_case(campaign, case)
    runs = "1 run" if len(seeds) == 1 else f"{len(seeds):,} runs"
    text = f"{runs} of {campaign.messages:,} messages in {seconds:.1f} s, "
    if case is None:
        text += f"no promise broken; seeds {seeds[0]} to {seeds[-1]}"
    else:
        listed = ", ".join(str(seed) for seed, _ in found[:LISTED])
        more = f" and {len(found) - LISTED} others" if len(found) > LISTED else ""
        text += f"promises broken by {len(found)}: seed {listed}{more}"
    click.secho(text, fg="green" if case is None else "red", bold=True)


def _show_case(campaign: Campaign, case: Case) -> None:
    for one in case.broken[:LISTED]:
        click.secho(f"broken: {escaped(str(one))}", fg="red")
    click.echo("\nThe shortest run that was found with it:\n")
    for line in case.timeline:
        click.echo(escaped(line))
    click.echo(f"\nThe test that repeats it, as a file beside {escaped(campaign.spec.name)}:\n")
    click.echo(as_yaml(case.test).removeprefix("---\n") + "\n")


def value_of(
    campaign: Campaign, seeds: Sequence[int], found: Found, case: Case | None
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "first": seeds[0],
        "runs": len(seeds),
        "messages": campaign.messages,
        "broken": [
            {"seed": seed, "promise": one.promise, "text": one.text}
            for seed, breaches in found
            for one in breaches
        ],
        "timeline": [] if case is None else list(case.timeline),
        "test": None if case is None else case.test,
    }
