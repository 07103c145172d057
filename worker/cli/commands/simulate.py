"""`worker simulate`: the pipelines of a spec under drawn schedules of what goes wrong."""

from __future__ import annotations

import logging
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import click

from worker.cli.exit_codes import FAILED
from worker.cli.options import SETTINGS, Output, output_option, path_option, spec_argument
from worker.cli.progress import progress
from worker.cli.views import simulations as views
from worker.cli.views.values import print_value
from worker.errors import WorkerError
from worker.kafka.lines import lines_in
from worker.testing.simulation.campaign import Campaign, search
from worker.testing.simulation.promises import Broken

BEFORE: Final = 10**9
"""Fresh seeds begin before this one."""


@click.command("simulate", context_settings=SETTINGS)
@spec_argument()
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=100,
    metavar="N",
    show_envvar=True,
    help="How many runs, each of a fresh seed.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="S",
    help="Repeat the run of this seed alone: with the same spec and as many messages it is the "
    "same, byte for byte.",
)
@click.option(
    "--messages",
    type=click.IntRange(1),
    default=1000,
    metavar="N",
    show_envvar=True,
    help="Messages of a run.",
)
@click.option(
    "--handlers",
    is_flag=True,
    help="Give the messages to the handlers of the spec, with all that they do, as often as "
    "messages come again. Without it stubs stand for them, and none of its code is imported.",
)
@click.option(
    "--payloads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    show_envvar=True,
    help="What messages hold: the lines of this file in turn. By default each holds {}.",
)
@click.option(
    "--topic",
    multiple=True,
    metavar="NAME",
    show_envvar=True,
    help="Let messages come to this topic, too, for pipelines that read what a pattern matches. "
    "May be given more than once.",
)
@path_option()
@output_option()
def command(
    spec: Path,
    seeds: int,
    seed: int | None,
    messages: int,
    handlers: bool,
    payloads: Path | None,
    topic: tuple[str, ...],
    path: tuple[str, ...],
    output: Output,
) -> None:
    """Look for orders of events in which a promise of the worker is broken.

    The engine runs in virtual time on a broker in memory, while processes are killed, stand still
    and are fenced, partitions are revoked, deliveries fail, handlers are slow and clocks jump, at
    any call of a client or a handler. After each run it is checked that nothing is lost, handled
    again without a reason, out of order, or twice where it is to be once. A run that breaks a
    promise is shortened, and printed as a time line and as a test for `worker test`; then the exit
    code is 1.

    \b
    Example:
      worker simulate config/flights.yaml --seeds 1000
      worker simulate config/flights.yaml --seed 4711 --messages 200
      worker simulate config/flights.yaml --handlers --payloads data/flights.jsonl
    """
    logging.disable()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    campaign = Campaign(spec, messages, path, handlers, _lines(payloads), topic)
    first = secrets.randbelow(BEFORE) if seed is None else seed
    wanted = range(first, first + (seeds if seed is None else 1))
    begun = time.monotonic()
    with redirect_stdout(sys.stderr):  # what handlers print is no result
        campaign.stage()  # raises what is wrong with it, before there are processes
        found = _broken(campaign, wanted)
        case = views.case_of(campaign, *found[0]) if found else None
    if output == "table":
        views.show(campaign, wanted, found, case, time.monotonic() - begun)
    else:
        print_value(views.value_of(campaign, wanted, found, case), output)
    if found:
        sys.exit(FAILED)


def _broken(campaign: Campaign, seeds: Sequence[int]) -> list[tuple[int, list[Broken]]]:
    """The seeds that break promises, and which; each is told at once, since Ctrl-C may follow."""
    found = []
    with progress("seeds") as show:
        for done, (seed, breaches) in enumerate(search(campaign, seeds), 1):
            show(done, len(seeds))
            if breaches:
                views.tell_seed(seed, breaches[0])
                found.append((seed, breaches))
    return found


def _lines(file: Path | None) -> tuple[bytes, ...]:
    if file is None:
        return ()
    found = tuple(line for _, line in lines_in(file))
    if not found:
        raise WorkerError(f"{file} has no lines; each is what a message holds")
    return found
