"""`worker groups`: consumer groups, their lag, and where they go on."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from worker.cli.completion import EVERY_TOPIC, GROUPS
from worker.cli.confirming import confirm
from worker.cli.connecting import Target, cluster_options
from worker.cli.exit_codes import FAILED
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.selection import TIMES, Moment
from worker.cli.views import groups as views
from worker.cli.views.values import print_value
from worker.flow.reset import At, Shift
from worker.flow.reset import Target as Place
from worker.kafka import arguments
from worker.observe import logs
from worker.observe.text import escaped
from worker.operate.groups import GroupKeeper, Where

_ENDS: Final[dict[str, Place]] = {"oldest": "oldest", "newest": "newest"}
_SHIFT: Final = re.compile(r"[+-]\d{1,18}")
_OFFSET: Final = re.compile(r"\d{1,18}")
_WHERE: Final = re.compile(r"([^:]+)(?::(\d{1,6}(?:,\d{1,6})*))?")


class To(click.ParamType[Place]):
    """Where a group is to go on."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Parse `oldest`, `newest`, an offset, a shift such as `-100`, or a time."""
        text = str(value)
        if text in _ENDS:
            return _ENDS[text]
        if _SHIFT.fullmatch(text):
            return Shift(int(text))
        if _OFFSET.fullmatch(text):
            return At(int(text))
        try:
            found = Moment().convert(text, param, ctx)
        except click.BadParameter:
            legal = f"oldest, newest, an offset such as 42, a shift such as +10 or -10, {TIMES}"
            self.fail(f"{value!r} is not legal; legal are {legal}", param, ctx)
        return datetime.fromtimestamp(found / 1000, UTC)


class Parts(click.ParamType[Where]):
    """A topic, or some of its partitions."""

    name = "topic"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Where:
        """Parse `orders` or `orders:0,3`."""
        if isinstance(value, Where):
            return value
        found = _WHERE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not TOPIC or TOPIC:PARTITION,...", param, ctx)
        try:
            topic = arguments.topic(found[1])
        except ValueError as error:
            self.fail(str(error), param, ctx)
        numbers = found[2].split(",") if found[2] else []
        return Where(topic, tuple(dict.fromkeys(map(int, numbers))))


class GroupName(click.ParamType[str]):
    """A name that a group of a cluster may have."""

    name = "group"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it."""
        try:
            return arguments.group_there(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_GROUP = click.argument("group", type=GroupName(), shell_complete=GROUPS)


@click.group("groups")
def command() -> None:
    """See consumer groups and their lag, and reset their offsets.

    No group is joined.

    \b
    Example:
      worker groups lag --spec config/flights.yaml
      worker groups reset flights.delays --to 2h --dry-run --spec config/flights.yaml
    """
    logs.configure("warning", "auto")


@command.command("list", context_settings=SETTINGS)
@cluster_options
@output_option()
def list_(target: Target, output: Output) -> None:
    """List the groups that this user may see, and the pipelines of the spec that have them.

    \b
    Example:
      worker groups list --brokers localhost:9092
    """
    keeper = _keeper(target)
    if output == "table":
        views.show_list(keeper.all(), keeper.pipelines)
    else:
        print_value(views.value_of_list(keeper.all(), keeper.pipelines), output)


@command.command("describe", context_settings=SETTINGS)
@_GROUP
@cluster_options
@output_option()
def describe(group: str, target: Target, output: Output) -> None:
    """Show a group: its state, its members, where they run and what they read.

    \b
    Example:
      worker groups describe flights.delays --spec config/flights.yaml
    """
    found = _keeper(target).describe(group)
    if output == "table":
        views.show_details(found)
    else:
        print_value(views.value_of_details(found), output)


@command.command("lag", context_settings=SETTINGS)
@click.argument("names", type=GroupName(), nargs=-1, shell_complete=GROUPS, metavar="[GROUP]...")
@cluster_options
@output_option()
def lag(names: Sequence[str], target: Target, output: Output) -> None:
    """Show how many messages wait, by partition: for these groups, or for those of the spec.

    \b
    Example:
      worker groups lag --spec config/flights.yaml
    """
    keeper = _keeper(target)
    wanted = list(dict.fromkeys(names)) or list(keeper.pipelines)
    if not wanted:
        raise click.UsageError("name groups, or give --spec")
    found = {group: keeper.lag(group) for group in wanted}
    if output == "table":
        views.show_lag(found)
    else:
        print_value(views.value_of_lag(found), output)


@command.command("reset", context_settings=SETTINGS)
@_GROUP
@click.option(
    "--to",
    type=To(),
    required=True,
    metavar="PLACE",
    help="oldest, newest, an offset, +N or -N from where it is, a time with its zone, or how long "
    "ago, such as 2h.",
)
@click.option(
    "--topic",
    "where",
    type=Parts(),
    multiple=True,
    metavar="TOPIC[:PARTITION,...]",
    shell_complete=EVERY_TOPIC,
    help="Reset this topic only, or these of its partitions; may be given more than once. By "
    "default all that the group reads, but for retry topics and redriven dead letters.",
)
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Do not ask.")
@cluster_options
@output_option()
def reset(
    group: str,
    to: Place,
    where: Sequence[Where],
    dry_run: bool,
    yes: bool,
    target: Target,
    output: Output,
) -> None:
    """Have a group without members go on elsewhere.

    What is noted beside its offsets, such as messages above them that are handled already, goes
    with them: all from the new place on is handled.

    \b
    Example:
      worker groups reset flights.delays --to oldest --dry-run --spec config/flights.yaml
      worker groups reset flights.delays --to -100 --topic flights:0 --brokers localhost:9092
    """
    keeper = _keeper(target)
    plan = keeper.plan(group, to, where)
    if dry_run and output != "table":
        print_value(views.value_of_reset(plan, {}), output)
    else:
        views.show_reset(plan, err=not dry_run)
    if dry_run or not plan.moves.changes:
        return
    number = len(plan.moves.changes)
    confirm(f"Reset {number} partitions of {escaped(group)}?", yes=yes, look="--dry-run")
    refused = {one: why for one, why in keeper.reset(plan).items() if why is not None}
    if output == "table":
        views.show_refused(plan, refused)
    else:
        print_value(views.value_of_reset(plan, refused), output)
    if refused:
        sys.exit(FAILED)


def _keeper(target: Target) -> GroupKeeper:
    return GroupKeeper(target.spec)
