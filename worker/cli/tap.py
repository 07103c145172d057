"""`worker tap`: the messages of topics as they come."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from worker.cli.completion import TOPICS
from worker.cli.connecting import Target, cluster_options, require_topics
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.exit_codes import FORCED
from worker.cli.options import SETTINGS, Output, output_option
from worker.cli.output import is_unread
from worker.cli.records import Decode, lines_of_record, value_of_record
from worker.cli.selection import Moment
from worker.cli.shown import print_value
from worker.flow.filter import Field, Filter, field_of
from worker.kafka.client import Kafka
from worker.kafka.reader import Bounds, Reader
from worker.observe import logs
from worker.observe.text import escaped
from worker.ports import Place
from worker.settings.secrets import secrets_of
from worker.types import Isolation, Message, TopicPartition


class Start(click.ParamType[Place]):
    """Where to begin."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Parse `oldest`, `newest`, or a time."""
        if isinstance(value, datetime):
            return value
        places: dict[str, Place] = {"oldest": "oldest", "newest": "newest"}
        if value in places:
            return places[value]
        return datetime.fromtimestamp(Moment().convert(value, param, ctx) / 1000, UTC)


class Where(click.ParamType[Field]):
    """A field of JSON with its value."""

    name = "field=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Field:
        """Parse `status=open` or `/items/0/id=7`."""
        field = value if isinstance(value, Field) else field_of(str(value))
        if field is None:
            self.fail(f"{value!r} is not FIELD=VALUE or /JSON/POINTER=VALUE", param, ctx)
        return field


@click.command("tap", context_settings=SETTINGS)
@click.argument("topics", nargs=-1, required=True, shell_complete=TOPICS, metavar="TOPICS...")
@cluster_options
@click.option(
    "--from",
    "start",
    type=Start(),
    default="newest",
    metavar="PLACE",
    help="Begin at oldest, newest, or a time: with its zone, or how long ago, such as 2h.",
)
@click.option("--no-follow", is_flag=True, help="End where the topics end now.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many messages.")
@click.option("--key", "keys", multiple=True, help="Those with this key, as UTF-8, or another one.")
@click.option(
    "--partition",
    "partitions",
    type=click.IntRange(0),
    multiple=True,
    metavar="N",
    help="Those of this partition, or another one.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Those that have this header, and every other one.",
)
@click.option(
    "--contains",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="Those whose payload holds this text, and every other one.",
)
@click.option(
    "--where",
    "fields",
    type=Where(),
    multiple=True,
    metavar="FIELD=VALUE",
    help="Those whose JSON has this field with this value, and every other one; a JSON pointer "
    "such as /items/0/id leads deeper.",
)
@click.option(
    "--decode",
    type=click.Choice(["auto", "json", "text", "base64"]),
    default="auto",
    show_envvar=True,
    help="How to show payloads. auto: to people JSON in lines and the rest as text; to programs "
    "text, and what is none in base 64.",
)
@click.option(
    "--isolation",
    type=click.Choice(["read_committed", "read_uncommitted"]),
    default="read_committed",
    show_envvar=True,
    help="Whether messages of open and aborted transactions are left out.",
)
@output_option()
def command(
    topics: Sequence[str],
    target: Target,
    start: Place,
    no_follow: bool,  # noqa: FBT001 - given by click by name
    count: int | None,
    keys: Sequence[str],
    partitions: Sequence[int],
    headers: Sequence[str],
    texts: Sequence[str],
    fields: Sequence[Field],
    decode: Decode,
    isolation: Isolation,
    output: Output,
) -> None:
    """Follow the messages of topics.

    In no group, and nothing is committed. Ctrl-C ends it, and so does the end of whoever reads the
    output.

    \b
    Example:
      worker tap flights --from 10m --where carrier=UA --count 5 --brokers localhost:9092
      worker tap flights.dlq --spec config/flights.yaml --output json | jq .value
    """  # noqa: D301 - click's own mark
    logs.configure("error", "auto", secrets=secrets_of(target.kafka))
    wanted = Filter(
        frozenset(map(_encoded, keys)),
        frozenset(partitions),
        list(map(_header, headers)),
        list(map(_encoded, texts)),
        fields,
    )
    names = list(dict.fromkeys(topics))
    with Kafka(target.kafka) as kafka:
        _require_partitions(partitions, require_topics(kafka, names))
    with Reader(target.kafka, isolation) as reader, stopped_by_signals(stop := _Stop()):
        bounds = {one: span for name in names for one, span in reader.since(name, start).items()}
        if not no_follow:
            listed = escaped(", ".join(names))
            click.echo(f"{listed}: {len(bounds)} partitions, Ctrl-C ends", err=True)
        with closing(_messages(reader, bounds, follow=not no_follow)) as messages:
            _print(messages, wanted, count, stop, decode, output)


def _require_partitions(wanted: Sequence[int], known: Mapping[str, Sequence[int]]) -> None:
    """See that some topic has each of these partitions."""
    legal = sorted({number for numbers in known.values() for number in numbers})
    missing = [str(number) for number in wanted if number not in legal]
    if missing:
        text = f"{', '.join(missing)} is not there; legal are 0 to {legal[-1]}"
        raise click.BadParameter(text, param_hint="--partition")


class _Stop:
    """What signals ask for: the first that it ends in good order, the second that it ends now."""

    asked = False

    def stop(self) -> None:
        """See `ending.Stoppable`."""
        if self.asked:
            leave(FORCED)
        self.asked = True


def _messages(
    reader: Reader, bounds: dict[TopicPartition, Bounds], *, follow: bool
) -> Generator[Message | None]:
    if follow:
        yield from reader.follow({source: low for source, (low, _) in bounds.items()})
    else:
        yield from reader.beside(bounds)


def _print(
    messages: Iterable[Message | None],
    wanted: Filter,
    count: int | None,
    stop: _Stop,
    decode: Decode,
    output: Output,
) -> None:
    """Print what is wanted, until there are enough, a signal comes, or nobody reads any more."""
    shown = 0
    for message in messages:
        if stop.asked or is_unread():
            return
        if message is None or not wanted.takes(message):
            continue
        if output == "table":
            click.echo("\n".join(lines_of_record(message, decode)))
        else:
            print_value(value_of_record(message, decode), output)
        shown += 1
        if shown == count:
            return


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _header(text: str) -> tuple[str, bytes | None]:
    name, found, value = text.partition("=")
    return name, _encoded(value) if found else None
