"""The options that say which messages of topics are read, and reading them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from worker.cli.connecting import Target, require_topics
from worker.cli.ending import leave, stopped_by_signals
from worker.cli.exit_codes import FORCED
from worker.cli.selection import Moment
from worker.flow.filter import Field, Filter, field_of
from worker.kafka.client import Kafka
from worker.kafka.reader import Bounds, Reader
from worker.observe.text import escaped
from worker.ports import Place
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


@dataclass(frozen=True, slots=True)
class Reading:
    """Which messages are read."""

    start: Place
    follow: bool
    count: int | None
    """How many of those that are wanted, at most."""
    wanted: Filter
    isolation: Isolation


_OPTIONS: Final = (
    click.option(
        "--from",
        "start",
        type=Start(),
        default="newest",
        metavar="PLACE",
        help="Begin at oldest, newest, or a time: with its zone, or how long ago, such as 2h.",
    ),
    click.option("--no-follow", is_flag=True, help="End where the topics end now."),
    click.option(
        "--count", type=click.IntRange(1), metavar="N", help="End after so many messages."
    ),
    click.option(
        "--key", "keys", multiple=True, help="Those with this key, as UTF-8, or another one."
    ),
    click.option(
        "--partition",
        "partitions",
        type=click.IntRange(0),
        multiple=True,
        metavar="N",
        help="Those of this partition, or another one.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Those that have this header, and every other one.",
    ),
    click.option(
        "--contains",
        "texts",
        multiple=True,
        metavar="TEXT",
        help="Those whose payload holds this text, and every other one.",
    ),
    click.option(
        "--where",
        "fields",
        type=Where(),
        multiple=True,
        metavar="FIELD=VALUE",
        help="Those whose JSON has this field with this value, and every other one; a JSON pointer "
        "such as /items/0/id leads deeper.",
    ),
    click.option(
        "--isolation",
        type=click.Choice(["read_committed", "read_uncommitted"]),
        default="read_committed",
        show_envvar=True,
        help="Whether messages of open and aborted transactions are left out.",
    ),
)


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where to begin and to end, and the filters; the command is given a `Reading`."""

    @functools.wraps(function)
    def reading(
        *,
        start: Place,
        no_follow: bool,
        count: int | None,
        keys: tuple[str, ...],
        partitions: tuple[int, ...],
        headers: tuple[str, ...],
        texts: tuple[str, ...],
        fields: tuple[Field, ...],
        isolation: Isolation,
        **others: Any,
    ) -> Any:
        wanted = Filter(
            frozenset(map(_encoded, keys)),
            frozenset(partitions),
            list(map(_header, headers)),
            list(map(_encoded, texts)),
            fields,
        )
        chosen = Reading(start, not no_follow, count, wanted, isolation)
        return function(reading=chosen, **others)

    for option in reversed(_OPTIONS):
        reading = option(reading)
    return reading


@contextmanager
def messages_of(
    target: Target, topics: Sequence[str], reading: Reading
) -> Iterator[Iterator[Message | None]]:
    """The messages that are wanted, until there are enough or a signal comes.

    None for each of the others, and when none has come for a while.
    """
    names = list(dict.fromkeys(topics))
    with Kafka(target.kafka) as kafka:
        _require_partitions(reading.wanted.partitions, require_topics(kafka, names))
    with (
        Reader(target.kafka, reading.isolation) as reader,
        stopped_by_signals(stop := _Stop()),
    ):
        bounds = {
            one: span for name in names for one, span in reader.since(name, reading.start).items()
        }
        if reading.follow:
            listed = escaped(", ".join(names))
            click.echo(f"{listed}: {len(bounds)} partitions, Ctrl-C ends", err=True)
        with closing(_messages(reader, bounds, follow=reading.follow)) as messages:
            yield _chosen(messages, reading, stop)


class _Stop:
    """What signals ask for: the first that it ends in good order, the second that it ends now."""

    asked = False

    def stop(self) -> None:
        """See `ending.Stoppable`."""
        if self.asked:
            leave(FORCED)
        self.asked = True


def _require_partitions(wanted: Iterable[int], known: Mapping[str, Sequence[int]]) -> None:
    """See that some topic has each of these partitions."""
    legal = sorted({number for numbers in known.values() for number in numbers})
    missing = [str(number) for number in sorted(wanted) if number not in legal]
    if missing:
        text = f"{', '.join(missing)} is not there; legal are 0 to {legal[-1]}"
        raise click.BadParameter(text, param_hint="--partition")


def _messages(
    reader: Reader, bounds: dict[TopicPartition, Bounds], *, follow: bool
) -> Generator[Message | None]:
    if follow:
        yield from reader.follow({source: low for source, (low, _) in bounds.items()})
    else:
        yield from reader.beside(bounds)


def _chosen(
    messages: Iterable[Message | None], reading: Reading, stop: _Stop
) -> Iterator[Message | None]:
    taken = 0
    for message in messages:
        if stop.asked:
            return
        is_wanted = message is not None and reading.wanted.takes(message)
        yield message if is_wanted else None
        taken += is_wanted
        if taken == reading.count:
            return


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _header(text: str) -> tuple[str, bytes | None]:
    name, found, value = text.partition("=")
    return name, _encoded(value) if found else None
