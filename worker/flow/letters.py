"""Dead letters as they are read: one value, whoever has written the headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from worker.flow import headers
from worker.flow.deadletter import PREFIX, VALUE
from worker.types import Message

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and what its headers say of it, None where they do not; times in milliseconds.

    Headers are what others have written: they are shown and compared, and lead only to topics
    that somebody has allowed.
    """

    message: Message
    """The record as it lies in the dead-letter topic."""
    writer: str = "unknown"
    """Who has written it: a key of `WRITERS`, or `unknown`."""
    topic: str | None = None
    """Where the message was read that could not be handled."""
    partition: int | None = None
    offset: int | None = None
    timestamp: int | None = None
    group: str | None = None
    handler: str | None = None
    reason: str | None = None
    error: str | None = None
    """The exception's class."""
    text: str | None = None
    """The exception's text."""
    attempts: int | None = None
    redrives: int = 0
    first_failure: int | None = None
    """When it has failed for the first time; `message.timestamp` says when for the last time."""
    took: int | None = None
    """How long the last attempt has taken."""
    truncated: str | None = None
    """What was left out, since it was too large even for the dead-letter topic."""
    redacted: str | None = None
    """What was left out on purpose: `value`, `headers.NAME`."""

    @property
    def place(self) -> tuple[int, int]:
        """Its partition and offset in the dead-letter topic."""
        return self.message.partition, self.message.offset

    @property
    def lacks_its_payload(self) -> bool:
        """Whether that was kept out; the mark alone says nothing, as senders may write it."""
        return not self.message.value and VALUE in (self.redacted or "").split(",")


def _binary_number(value: bytes) -> int | None:
    """A Java int or long in network order."""
    return int.from_bytes(value, "big", signed=True) if len(value) in {4, 8} else None


@dataclass(frozen=True, slots=True)
class Writer:
    """The headers of whoever writes dead letters: per field those that may hold it, best first."""

    marks: Sequence[str]
    """Headers that every one of its dead letters has, at least one of them."""
    texts: Mapping[str, Sequence[str]]
    numbers: Mapping[str, Sequence[str]]
    number: Callable[[bytes], int | None] = field(default=headers.number)


def _named(prefix: str, **names: str) -> dict[str, tuple[str, ...]]:
    return {key: (prefix + name,) for key, name in names.items()}


_SPRING: Final = "kafka_dlt-"
_CONNECT: Final = "__connect.errors."
_STREAMS: Final = "__streams.errors."

WRITERS: Final = {
    "stream-worker": Writer(
        (PREFIX + "topic",),
        _named(
            PREFIX,
            topic="topic",
            group="group",
            handler="handler",
            reason="reason",
            error="error",
            text="message",
            truncated="truncated",
            redacted="redacted",
        ),
        _named(
            PREFIX,
            partition="partition",
            offset="offset",
            timestamp="timestamp",
            attempts="attempts",
            first_failure="first_failure",
            took="took",
        ),
    ),
    "spring": Writer(
        (_SPRING + "original-topic", _SPRING + "exception-fqcn"),
        {
            **_named(
                _SPRING,
                topic="original-topic",
                group="original-consumer-group",
                text="exception-message",
            ),
            "error": (_SPRING + "exception-cause-fqcn", _SPRING + "exception-fqcn"),
        },
        {
            **_named(
                _SPRING,
                partition="original-partition",
                offset="original-offset",
                timestamp="original-timestamp",
            ),
            "attempts": ("retry_topic-attempts", "kafka_deliveryAttempt"),
        },
        _binary_number,
    ),
    "connect": Writer(
        (_CONNECT + "topic",),
        _named(
            _CONNECT,
            topic="topic",
            handler="connector.name",
            reason="stage",
            error="exception.class.name",
            text="exception.message",
        ),
        _named(_CONNECT, partition="partition", offset="offset"),
    ),
    "streams": Writer(
        (_STREAMS + "exception", _STREAMS + "topic"),
        _named(_STREAMS, topic="topic", error="exception", text="message"),
        _named(_STREAMS, partition="partition", offset="offset"),
    ),
    "karafka": Writer(
        ("source_topic",),
        _named("source_", topic="topic", group="consumer_group"),
        _named("source_", partition="partition", offset="offset", attempts="attempts"),
    ),
}
"""Spring Kafka, sinks of Kafka Connect, Kafka Streams (KIP-1034) and Karafka beside our own."""

_BY_MARK: Final = {mark: name for name, writer in WRITERS.items() for mark in writer.marks}


def read(message: Message) -> Letter:
    """What a dead letter says; of several who have written headers, what the last one says.

    Whoever writes a dead letter adds its headers behind those that the message has had.
    """
    found = message.headers
    names = (_BY_MARK[name] for name, _ in reversed(found) if name in _BY_MARK)
    known = {name: value for name, value in found if value is not None}
    redrives = headers.number(known.get(PREFIX + "redrives")) or 0
    name = next(names, None)
    if name is None:
        return Letter(message, redrives=redrives)
    return _read_as(name, message, known, redrives)


def _read_as(name: str, message: Message, known: Mapping[str, bytes], redrives: int) -> Letter:
    writer = WRITERS[name]

    def text(key: str) -> str | None:
        return _first(known, writer.texts.get(key, ()), _text)

    def number(key: str) -> int | None:
        return _first(known, writer.numbers.get(key, ()), writer.number)

    return Letter(
        message,
        name,
        topic=text("topic"),
        partition=number("partition"),
        offset=number("offset"),
        timestamp=number("timestamp"),
        group=text("group"),
        handler=text("handler"),
        reason=text("reason"),
        error=text("error"),
        text=text("text"),
        attempts=number("attempts"),
        redrives=redrives,
        first_failure=number("first_failure"),
        took=number("took"),
        truncated=text("truncated"),
        redacted=text("redacted"),
    )


def _first(
    known: Mapping[str, bytes], names: Iterable[str], parse: Callable[[bytes], Parsed | None]
) -> Parsed | None:
    parsed = (parse(known[name]) for name in names if name in known)
    return next((value for value in parsed if value is not None), None)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
