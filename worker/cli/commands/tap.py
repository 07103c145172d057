"""`worker tap`: the messages of topics as they come."""

from __future__ import annotations

from collections.abc import Sequence

import click

from worker.cli.completion import TOPICS
from worker.cli.connecting import Target, cluster_options
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.output import is_unread
from worker.cli.reading import Reading, messages_of, reading_options
from worker.cli.views.records import Decode, lines_of_record, value_of_record
from worker.cli.views.values import print_value
from worker.observe import logs
from worker.settings.secrets import secrets_of
from worker.types import Message


@click.command("tap", context_settings=SETTINGS)
@click.argument("topics", nargs=-1, required=True, shell_complete=TOPICS, metavar="TOPICS...")
@cluster_options
@reading_options
@click.option(
    "--decode",
    type=click.Choice(["auto", "json", "text", "base64"]),
    default="auto",
    show_envvar=True,
    help="How to show payloads. auto: to people JSON in lines and the rest as text; to programs "
    "text, and what is none in base 64.",
)
@output_option()
def command(
    topics: Sequence[str], target: Target, reading: Reading, decode: Decode, output: Output
) -> None:
    """Follow the messages of topics.

    In no group, and nothing is committed. Ctrl-C ends it, and so does the end of whoever reads the
    output.

    \b
    Example:
      worker tap flights --from 10m --where carrier=UA --count 5 --brokers localhost:9092
      worker tap flights.dlq --spec config/flights.yaml --output json | jq .value
    """
    logs.configure("error", "auto", secrets=secrets_of(target.spec))
    with messages_of(target, topics, reading) as messages:
        for message in messages:
            if is_unread():
                return
            if message is not None:
                _print(message, decode, output)


def _print(message: Message, decode: Decode, output: Output) -> None:
    if output == "table":
        click.echo("\n".join(lines_of_record(message, decode)))
    else:
        print_value(value_of_record(message, decode), output)
