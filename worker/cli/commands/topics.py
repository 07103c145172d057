"""`worker topics`: the topics of a cluster, with a spec or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from worker.app import made_as
from worker.cli.completion import EVERY_TOPIC
from worker.cli.confirming import confirm
from worker.cli.connecting import Target, cluster_options, require_topics
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.views.tables import print_table
from worker.cli.views.values import print_value
from worker.kafka import arguments
from worker.kafka.admin import KafkaAdmin
from worker.kafka.client import Kafka
from worker.kafka.topics import TopicConfig, TopicMetadata
from worker.observe import logs
from worker.observe.text import escaped

TOLD = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "max.message.bytes",
    "min.insync.replicas",
)
"""Settings that are told unasked."""


class TopicName(click.ParamType[str]):
    """A name that Kafka takes for a topic."""

    name = "topic"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it; names of Kafka's own topics are none."""
        try:
            name = arguments.topic(value)
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)
        if name.startswith("__"):
            self.fail(f"{name} is Kafka's own", param, ctx)
        return name


class Setting(click.ParamType[tuple[str, str]]):
    """A setting of a topic."""

    name = "setting"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Parse `retention.ms=86400000`."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE such as retention.ms=86400000", param, ctx)
        return name, text


_TOPIC = click.argument("topic", type=TopicName(), shell_complete=EVERY_TOPIC)


@click.group("topics")
def command() -> None:
    """See topics of a cluster, make them and delete them.

    What a spec wants of its topics is made with `worker apply`.

    \b
    Example:
      worker topics list --brokers localhost:9092
      worker topics describe flights --spec config/flights.yaml
    """
    logs.configure("warning", "auto")


@command.command("list", context_settings=SETTINGS)
@cluster_options
@output_option()
def list_(target: Target, output: Output) -> None:
    """List the topics that this user may see, but for Kafka's own.

    \b
    Example:
      worker topics list --brokers localhost:9092 --output json
    """
    sizes = KafkaAdmin(target.kafka).sizes()
    shown = {topic: sizes[topic] for topic in sorted(sizes) if not topic.startswith("__")}
    if output == "table":
        rows = [(escaped(topic), f"{p:,}", str(r)) for topic, (p, r) in shown.items()]
        print_table(("topic", "partitions", "replicas"), rows, texts=1)
    else:
        value = [{"topic": t, "partitions": p, "replicas": r} for t, (p, r) in shown.items()]
        print_value(value, output)


@command.command("describe", context_settings=SETTINGS)
@_TOPIC
@click.option("--settings", is_flag=True, help="Show every setting, not only the usual ones.")
@cluster_options
@output_option()
def describe(
    topic: str,
    settings: bool,
    target: Target,
    output: Output,
) -> None:
    """Show a topic: leaders, replicas, offsets, settings.

    \b
    Example:
      worker topics describe flights --spec config/flights.yaml
    """
    with Kafka(target.kafka) as kafka:
        require_topics(kafka, [topic])
        found = kafka.describe_topic(topic)
    if output == "table":
        _show(found, every=settings)
    else:
        print_value(_value_of(found), output)


@command.command("create", context_settings=SETTINGS)
@_TOPIC
@click.option("--partitions", type=click.IntRange(1), metavar="N", help="How many partitions.")
@click.option("--replication", type=click.IntRange(1), metavar="N", help="How many replicas.")
@click.option(
    "--config", type=Setting(), multiple=True, metavar="NAME=VALUE", help="A setting of Kafka's."
)
@click.option("--dry-run", is_flag=True, help="Ask only whether it could be made.")
@cluster_options
@output_option()
def create(
    topic: str,
    partitions: int | None,
    replication: int | None,
    config: Sequence[tuple[str, str]],
    dry_run: bool,
    target: Target,
    output: Output,
) -> None:
    """Make a topic: as the options say, then the spec, then the cluster.

    \b
    Example:
      worker topics create orders --partitions 6 --config retention.ms=86400000 \\
        --brokers localhost:9092
    """
    declared = made_as(target.spec, topic)
    said = TopicConfig(
        partitions or declared.partitions,
        replication or declared.replication,
        {**declared.config, **dict(config)},
    )
    with Kafka(target.kafka) as kafka:
        kafka.create_topic(topic, said, validate_only=dry_run)
    if output == "table":
        click.echo(f"{topic} could be made" if dry_run else f"{topic} is made")
    else:
        print_value(_value_of_made(topic, said, made=not dry_run), output)


@command.command("delete", context_settings=SETTINGS)
@click.argument(
    "names",
    type=TopicName(),
    nargs=-1,
    required=True,
    shell_complete=EVERY_TOPIC,
    metavar="TOPIC...",
)
@click.option("--yes", is_flag=True, allow_from_autoenv=False, help="Do not ask.")
@cluster_options
@output_option()
def delete(
    names: Sequence[str],
    yes: bool,
    target: Target,
    output: Output,
) -> None:
    """Delete topics with all their records.

    \b
    Example:
      worker topics delete orders --brokers localhost:9092
    """
    names = list(dict.fromkeys(names))
    with Kafka(target.kafka) as kafka:
        require_topics(kafka, names, otherwise="")
        found = [kafka.describe_topic(name) for name in names]
        for topic in found:
            held = sum(_held(one.low, one.high) for one in topic.partitions)
            number = len(topic.partitions)
            click.echo(f"{topic.name}: {number} partitions, {held:,} records at most", err=True)
        confirm(f"Delete {', '.join(names)}?", yes=yes, look="worker topics describe")
        for name in names:
            kafka.delete_topic(name)
            if output == "table":
                click.echo(f"{name} is deleted")
            else:
                print_value({"topic": name, "deleted": True}, output)


def _show(topic: TopicMetadata, *, every: bool) -> None:
    rows = [
        (
            str(one.id),
            "none" if one.leader is None else str(one.leader),
            _listed(one.replicas),
            _listed(one.isr),
            _listed(one.offline),
            _number(one.low),
            _number(one.high),
            f"{_held(one.low, one.high):,}",
        )
        for one in topic.partitions
    ]
    click.echo(f"{escaped(topic.name)}  {topic.topic_id}")
    names = ("partition", "leader", "replicas", "in sync", "offline", "oldest", "end", "records")
    print_table(names, rows, texts=5)
    click.echo()
    for name, value in sorted(topic.config.items()):
        if every or name in TOLD:
            click.echo(f"{name:23} {escaped(value)}")


def _value_of_made(topic: str, said: TopicConfig, *, made: bool) -> dict[str, Any]:
    return {
        "topic": topic,
        "made": made,
        "partitions": said.partitions,
        "replication": said.replication,
        "config": dict(said.config),
    }


def _value_of(topic: TopicMetadata) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "id": topic.topic_id,
        "partitions": [
            {
                "partition": one.id,
                "leader": one.leader,
                "replicas": list(one.replicas),
                "in_sync": list(one.isr),
                "offline": list(one.offline),
                "oldest": one.low,
                "end": one.high,
            }
            for one in topic.partitions
        ],
        "config": dict(topic.config),
    }


def _held(low: int | None, high: int | None) -> int:
    return 0 if low is None or high is None else high - low


def _listed(brokers: Sequence[int]) -> str:
    return ",".join(map(str, brokers)) or "-"


def _number(offset: int | None) -> str:
    return "?" if offset is None else f"{offset:,}"
