"""The command line of the fault harness."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import click

from tests.faults.judge import Finding, judge
from tests.faults.nemesis import Order, drawn, run
from tests.faults.run import Limits
from tests.faults.scenarios import SCENARIOS
from tests.faults.verdict import verdict, write

SHORT: Final = (
    "kill-worker",
    "kill-transaction-coordinator",
    "pause-worker",
    "resets",
    "rolling-workers",
    "two-of-three-brokers",
    "answers-held",
    "add-partitions",
    "kill-group-coordinator",
)
"""What the short profile does, in an order by lot."""
NOT_IN_SOAK: Final = (
    "kill-all-workers",
    "rolling-workers",
    "change-certificates",
    "add-partitions",
)
"""What a worker cannot be spared from, and what cannot be done again and again."""
LONGEST: Final = "all-brokers"
"""A soak begins with it: workers hold most after the longest outage, and of what Python has had at
once it gives little back, so that later it would look like growth."""
SOAK_RATE: Final = 1_000.0
CREEPS: Final = float(1 << 20)
"""Bytes an hour by which a worker may grow in a soak."""


class Names(click.ParamType[list[str]]):
    """Names of scenarios with commas between them."""

    name = "names"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """See `click.ParamType`."""
        names = [name.strip() for name in value.split(",")]
        unknown = [name for name in names if name not in SCENARIOS]
        if unknown:
            legal = ", ".join(SCENARIOS)
            self.fail(f"no scenario is called {', '.join(unknown)}; there are {legal}", param, ctx)
        return names


def ordered(
    seed: int, rate: float | None, profile: str, names: list[str] | None, soak: float | None
) -> Order:
    """Make an order of what was asked for."""
    if soak is not None:
        left = names or [name for name in SCENARIOS if name not in NOT_IN_SOAK]
        limits = Limits(slope=CREEPS)
        chosen = sorted(drawn(seed, left, len(left)), key=lambda name: name != LONGEST)
        return Order(seed, rate or SOAK_RATE, chosen, soak, limits, spares=True, named=names or ())
    of_profile = [*SHORT] if profile == "short" else [*SCENARIOS]
    return Order(seed, rate or 200.0, names or drawn(seed, of_profile, len(of_profile)))


@click.command()
@click.option("--seed", type=int, help="What is drawn by lot; by default another one each time.")
@click.option("--scenarios", type=Names(), help="These, in this order, instead of a profile.")
@click.option("--profile", type=click.Choice(["short", "long"]), default="short", show_default=True)
@click.option(
    "--soak",
    type=click.FloatRange(min=1),
    help="Go on for so many minutes, with one worker spared whose memory is watched.",
)
@click.option(
    "--rate",
    type=click.FloatRange(10, 5_000),
    help="Messages a second; by default 200, in a soak 1000.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything is written; by default a new one.",
)
@click.option("--list", "listing", is_flag=True, help="Say which scenarios there are.")
def main(
    seed: int | None,
    scenarios: list[str] | None,
    profile: str,
    soak: float | None,
    rate: float | None,
    folder: Path | None,
    *,
    listing: bool,
) -> None:
    """Break brokers, workers and the network under load, and judge what is left."""
    if listing:
        for one in SCENARIOS.values():
            click.echo(f"{one.name:30} {one.about}")
        return
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(mkdtemp(prefix="faults-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise click.BadParameter(f"{folder} is to be a new or empty folder", param_hint="--folder")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all that was started ends
    findings = judged(ordered(seed, rate, profile, scenarios, soak), folder)
    raise SystemExit(1 if findings else 0)


def judged(order: Order, folder: Path) -> list[Finding]:
    """Run and judge, and tell of both."""
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:7.1f} s  {text}")

    say(f"{order.line}; into {folder}")
    left = run(order, folder, say)
    findings = judge(left)
    write(left, verdict(left, findings, order.line), folder)
    for finding in findings:
        click.echo(f"{finding.code}  {finding.text}")
    summary = f"{len(findings)} findings" if findings else "all promises hold"
    say(f"{len(left.inputs)} messages, {len(left.phases)} faults: {summary}")
    return findings


if __name__ == "__main__":
    main()
