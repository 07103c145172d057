"""What `worker groups` prints, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import click

from worker.cli.views.tables import print_table
from worker.flow.reset import Move
from worker.kafka.groups import GroupDetails, GroupLine
from worker.observe.text import escaped
from worker.operate.groups import Lag, Reset
from worker.types import TopicPartition

Lags = Mapping[str, Sequence[Lag]]


def show_list(lines: Sequence[GroupLine], pipelines: Mapping[str, str]) -> None:
    """Print groups and whose they are."""
    rows = [
        (escaped(one.name), one.state, one.protocol, pipelines.get(one.name, "")) for one in lines
    ]
    print_table(("group", "state", "protocol", "pipeline"), rows, texts=4)


def value_of_list(lines: Sequence[GroupLine], pipelines: Mapping[str, str]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "group": one.name,
            "state": one.state,
            "protocol": one.protocol,
            "pipeline": pipelines.get(one.name),
        }
        for one in lines
    ]


def show_details(group: GroupDetails) -> None:
    """Print a group and its members."""
    about = {
        "state": group.state,
        "protocol": group.protocol,
        "assignor": group.assignor or "none",
        "coordinator": group.coordinator,
        "members": str(len(group.members)),
    }
    click.echo(escaped(group.name))
    for name, value in about.items():
        click.echo(f"  {name:12}{escaped(value)}")
    rows = [
        (
            escaped(one.instance or one.id),
            escaped(one.client),
            escaped(one.host),
            escaped(_listed(one.partitions)),
        )
        for one in group.members
    ]
    if rows:
        click.echo()
        print_table(("member", "client", "host", "reads"), rows, texts=4)


def value_of_details(group: GroupDetails) -> dict[str, Any]:
    """The same for programs."""
    return {
        "group": group.name,
        "state": group.state,
        "protocol": group.protocol,
        "assignor": group.assignor,
        "coordinator": group.coordinator,
        "members": [
            {
                "id": one.id,
                "instance": one.instance,
                "client": one.client,
                "host": one.host,
                "partitions": [
                    {"topic": source.topic, "partition": source.partition}
                    for source in one.partitions
                ],
            }
            for one in group.members
        ],
    }


def show_lag(lags: Lags) -> None:
    """Print what waits, by partition and altogether."""
    rows = [
        (
            escaped(group),
            escaped(one.source.topic),
            str(one.source.partition),
            _number(one.committed, "none"),
            _number(one.end, "gone"),
            f"{one.above:,}",
            _number(one.lag, "-"),
        )
        for group, found in lags.items()
        for one in found
    ]
    names = ("group", "topic", "partition", "committed", "end", "handled above", "lag")
    print_table(names, rows, texts=2)
    click.echo()
    totals = [(escaped(group), f"{_total(found):,}") for group, found in lags.items()]
    print_table(("group", "lag"), totals, texts=1)


def value_of_lag(lags: Lags) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "group": group,
            "lag": _total(found),
            "partitions": [
                {
                    "topic": one.source.topic,
                    "partition": one.source.partition,
                    "committed": one.committed,
                    "end": one.end,
                    "handled_above": one.above,
                    "lag": one.lag,
                }
                for one in found
            ],
        }
        for group, found in lags.items()
    ]


def show_reset(reset: Reset, *, err: bool) -> None:
    """Print what would change."""
    rows = [
        (
            escaped(move.source.topic),
            str(move.source.partition),
            _number(move.now and move.now.offset, "none"),
            f"{move.to:,}",
            _difference(move),
        )
        for move in reset.moves.changes
    ]
    if rows:
        names = ("topic", "partition", "committed", "to", "again (-) or left out (+)")
        print_table(names, rows, texts=1, err=err)
    else:
        click.echo(f"nothing to change in {escaped(reset.group)}", err=err)
    if reset.moves.cut:
        listed = ", ".join(f"{source} by {cut:,}" for source, cut in reset.moves.cut.items())
        click.echo(f"cut at an end of the log: {escaped(listed)}", err=err)
    if reset.left:
        click.echo(f"left as they are: {escaped(', '.join(reset.left))}", err=err)


def show_refused(reset: Reset, refused: Mapping[TopicPartition, str]) -> None:
    """Print what was reset and what was not."""
    for source, why in refused.items():
        click.echo(f"not reset: {escaped(str(source))}: {escaped(why)}", err=True)
    number = len(reset.moves.changes) - len(refused)
    click.echo(f"{escaped(reset.group)}: {number} partitions were reset")


def value_of_reset(reset: Reset, refused: Mapping[TopicPartition, str]) -> dict[str, Any]:
    """What would change, or has changed where it was not refused, for programs."""
    return {
        "group": reset.group,
        "partitions": [
            {
                "topic": move.source.topic,
                "partition": move.source.partition,
                "committed": None if move.now is None else move.now.offset,
                "to": move.to,
                "error": refused.get(move.source),
            }
            for move in reset.moves.changes
        ],
        "cut": [
            {"topic": source.topic, "partition": source.partition, "by": cut}
            for source, cut in reset.moves.cut.items()
        ],
        "left": list(reset.left),
    }


def _difference(move: Move) -> str:
    return "" if move.now is None else f"{move.to - move.now.offset:+,}"


def _listed(sources: Sequence[TopicPartition]) -> str:
    """Partitions by topic: `orders 0,1; returns 2`."""
    by_topic = groupby(sources, key=lambda source: source.topic)
    return "; ".join(
        f"{topic} {','.join(str(one.partition) for one in found)}" for topic, found in by_topic
    )


def _number(value: int | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:,}"


def _total(found: Sequence[Lag]) -> int:
    return sum(one.lag or 0 for one in found)
