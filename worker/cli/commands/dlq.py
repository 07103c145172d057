"""`worker dlq`: dead letters are looked at, and moved to where they are handled again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

import click

from worker.cli.completion import DEAD_LETTER_TOPICS
from worker.cli.confirming import confirm
from worker.cli.connecting import Target, cluster_options
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.exit_codes import FAILED, FORCED
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.output import is_unread
from worker.cli.selection import selection_options
from worker.cli.views import letters as views
from worker.cli.views.values import print_value
from worker.errors import WorkerError
from worker.flow.rate import Rate, Unlimited
from worker.flow.redrive import ORIGIN, Decide, Selection, drop, park
from worker.kafka.mover import Mover, Progress
from worker.observe import logs
from worker.operate.deadletters import DeadLetters, Plan
from worker.settings.topics import parking_topic

REDRIVES: Final = 3
"""How often a dead letter is handled again before it is parked."""


@click.group("dlq")
def command() -> None:
    """See dead letters, and have them handled again.

    Whatever becomes of a dead letter is written to `{topic}.ledger` in the same transaction, so
    that each is moved once, even where a command is killed and run again. With --brokers in place
    of a spec topics are named, and dead letters are redriven with --to and --allow.

    \b
    Example:
      worker dlq list --spec config/flights.yaml
      worker dlq redrive flights.dlq --spec config/flights.yaml --reason timeout --dry-run
      worker dlq show orders.dlq --brokers localhost:9092
    """
    logs.configure("warning", "auto")


_OUTPUT = output_option()
_TOPIC = click.argument("topic", shell_complete=DEAD_LETTER_TOPICS)


def _moving(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all commands have that move dead letters."""
    options = (
        _TOPIC,
        cluster_options,
        selection_options,
        click.option("--limit", type=click.IntRange(1), metavar="N", help="Move so many at most."),
        click.option(
            "--rate",
            type=click.FloatRange(0, min_open=True),
            metavar="N",
            help="Move so many a second at most.",
        ),
        click.option(
            "--dry-run", is_flag=True, help="Print what would be moved, and move nothing."
        ),
        click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Do not ask."),
        _OUTPUT,
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("list", context_settings=SETTINGS)
@click.argument("topics", nargs=-1, shell_complete=DEAD_LETTER_TOPICS, metavar="[TOPICS]...")
@cluster_options
@_OUTPUT
def list_(topics: Sequence[str], target: Target, output: Output) -> None:
    """Count the dead letters of the spec's topics, or of others.

    \b
    Example:
      worker dlq list --spec config/flights.yaml
    """
    if not topics and not target.spec.pipelines:
        raise click.UsageError("name topics, or give --spec")
    dead_letters = DeadLetters(target.spec)
    surveys = [dead_letters.survey(topic) for topic in topics or dead_letters.topics()]
    if not surveys:
        click.echo("none of the dead-letter topics that the spec names is there", err=True)
    if output == "table":
        views.show_surveys(surveys)
    else:
        print_value(views.value_of_surveys(surveys), output)


@command.command("show", context_settings=SETTINGS)
@_TOPIC
@cluster_options
@selection_options
@click.option("--limit", type=click.IntRange(1), default=10, metavar="N", help="Show so many.")
@click.option("--all", "every", is_flag=True, help="Show those that were moved, too.")
@_OUTPUT
def show(
    topic: str,
    target: Target,
    selection: Selection,
    limit: int,
    every: bool,
    output: Output,
) -> None:
    """Show dead letters with their payloads and headers.

    \b
    Example:
      worker dlq show flights.dlq --spec config/flights.yaml --error ValueError --limit 3
    """
    found = (
        (letter, entry)
        for letter, entry in DeadLetters(target.spec).letters(topic)
        if (every or entry is None) and selection.takes(letter)
    )
    for letter, entry in islice(found, limit):
        if is_unread():
            return
        if output == "table":
            views.show_letter(letter, entry)
        else:
            print_value(views.value_of_letter(letter, entry), output)


@command.command("redrive", context_settings=SETTINGS)
@_moving
@click.option(
    "--to",
    metavar="TOPIC",
    help="Where to: `origin`, or a topic; by default each to `{group}.redrive`, which only its own "
    "pipeline reads.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="TOPIC",
    help="Let records go to this topic although the spec does not name it.",
)
@click.option(
    "--max-redrives",
    type=click.IntRange(0),
    default=REDRIVES,
    metavar="N",
    help="Park what was redriven so often already, in `{topic}.parked`.",
)
def redrive(
    topic: str,
    target: Target,
    to: str | None,
    allow: Sequence[str],
    max_redrives: int,
    **others: Any,
) -> None:
    """Have dead letters handled again.

    Dead letters of Spring Kafka, Kafka Connect, Kafka Streams and Karafka are understood as well;
    they go back with --to.

    \b
    Example:
      worker dlq redrive flights.dlq --spec config/flights.yaml --error TimeoutError --rate 100
    """
    dead_letters = DeadLetters(target.spec, allow)
    if to == topic:
        raise click.BadParameter("it is the topic that they are taken from", param_hint="--to")
    if to is not None and to != ORIGIN and not dead_letters.allows(to):
        text = f"the spec does not name {to!r}; add --allow {to} if it is meant"
        raise click.BadParameter(text, param_hint="--to")
    _move(dead_letters, topic, dead_letters.redrive(topic, to, max_redrives), **others)


@command.command("park", context_settings=SETTINGS)
@_moving
def park_(topic: str, target: Target, **others: Any) -> None:
    """Put dead letters aside, into `{topic}.parked`, where they are kept.

    \b
    Example:
      worker dlq park flights.dlq --spec config/flights.yaml --reason undecodable
    """
    _move(DeadLetters(target.spec), topic, park(parking_topic(topic)), **others)


@command.command("drop", context_settings=SETTINGS)
@_moving
def drop_(topic: str, target: Target, **others: Any) -> None:
    """Give dead letters up: no command moves them any more.

    They stay in their topic until its retention deletes them.

    \b
    Example:
      worker dlq drop flights.dlq --spec config/flights.yaml --offset 3:42
    """
    _move(DeadLetters(target.spec), topic, drop(), **others)


def _move(
    dead_letters: DeadLetters,
    topic: str,
    decide: Decide,
    *,
    selection: Selection,
    limit: int | None,
    rate: float | None,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    """Plan, ask, move and tell; ends with 1 where not all were moved."""
    plan = dead_letters.plan(topic, selection, decide, limit)
    if dry_run and output != "table":
        print_value(views.value_of_plan(plan), output)
    else:
        views.show_plan(plan, err=not dry_run)
    progress = Progress(stayed=plan.stays)
    if not dry_run:
        if plan.number:
            confirm(f"Move {plan.number:,} dead letters?", yes=yes, look="--dry-run")
            progress = _moved(dead_letters, plan, Unlimited() if rate is None else Rate(rate))
        if output == "table":
            views.show_progress(topic, progress)
        else:
            print_value(views.value_of_progress(topic, progress), output)
    if progress.stayed or progress.stopped:
        sys.exit(FAILED)


def _moved(dead_letters: DeadLetters, plan: Plan, pace: Rate) -> Progress:
    """Move, and say how far it came where it does not come to its end."""
    done = 0
    with click.progressbar(length=plan.number, label="moving", file=sys.stderr) as bar:

        def tell(progress: Progress) -> None:
            nonlocal done
            bar.update(progress.number - done)
            done = progress.number

        mover = dead_letters.mover(plan, pace, tell)
        try:
            with stopped_by_signals(_Ending(mover)):
                progress = mover.run()
        except WorkerError:
            _tell_end(mover.progress, plan)
            raise
    if progress.stopped:
        _tell_end(progress, plan)
    return progress


def _tell_end(progress: Progress, plan: Plan) -> None:
    click.echo(f"\nended after {progress.number:,} of {plan.number:,}; run it again", err=True)


class _Ending:
    """What signals ask for: the first that it ends in good order, the second that it ends now."""

    def __init__(self, mover: Mover) -> None:
        self._mover = mover

    def stop(self) -> None:
        """See `ending.Stoppable`; to be ended at any moment does no harm."""
        if self._mover.progress.stopped:
            leave(FORCED)
        self._mover.stop()
