"""Dead letters: the original record with headers that say what happened to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from worker.flow.attempts import Tried
from worker.flow.retry import own_names
from worker.settings import DeadLetterSettings
from worker.types import Encoded, Failure, Headers, Message

PREFIX = "dlq."
TEXT_LIMIT = 512
"""Characters of an exception's text, or of a reason, that a header holds at most."""

_PLACE = ("topic", "partition", "offset", "timestamp")
"""What says where a message was read, and its time."""

_PARKED = ".parked"

REASONS: Final = frozenset(
    {"handler_error", "rejected", "undecodable", "unencodable", "too_large", "timeout", "crash"}
)
"""What `dlq.reason` may say."""

_BATCH_OVERHEAD = 61
"""Bytes of a record batch's header in message format v2."""
_RECORD_OVERHEAD = 36
"""Bytes of a record's own lengths, attributes and deltas at most, in message format v2."""
_HEADER_OVERHEAD = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """Who writes the dead letters."""

    group: str
    pipeline: str
    handler: str


def redrive_topic(group: str) -> str:
    """Where dead letters of a group go to be handled again, so that no other group sees them."""
    return f"{group}.redrive"


def ledger_topic(dead_letter: str) -> str:
    """Where it stands what has become of the records of a dead-letter topic."""
    return f"{dead_letter}.ledger"


def parking_topic(dead_letter: str) -> str:
    """Where records of a dead-letter topic go that nobody wants to try again."""
    return dead_letter + _PARKED


def is_parking(topic: str) -> bool:
    """Whether a topic is one of these."""
    return topic.endswith(_PARKED)


def known_as(kind: type[BaseException], names: Collection[str]) -> str:
    """Which of these names an exception goes by: the longest of the class nearest to its own."""
    for one in kind.__mro__:
        own = own_names(one).intersection(names)
        if own:
            return max(own, key=len)
    return ""


def topic_of(target: DeadLetterSettings, failure: Failure) -> str:
    """Choose the dead-letter topic: that of the exception, else of the reason, else the default.

    A `timeout` is a `TimeoutError` that nobody has raised.
    """
    name = failure.known_as
    if failure.reason == "timeout":
        name = known_as(TimeoutError, target.by)
    return target.by.get(name) or target.by.get(failure.reason) or target.default


def size_of(record: Encoded) -> int:
    """Bytes that an encoded record takes in a batch of its own, before compression; at most."""
    size = _BATCH_OVERHEAD + _RECORD_OVERHEAD + len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += _HEADER_OVERHEAD + len(name.encode()) + len(value or b"")
    return size


def dead_letter(
    message: Message,
    failure: Failure,
    origin: Origin,
    *,
    topic: str,
    limit: int,
    tried: Tried,
    with_text: bool,
    extra: Headers = (),
) -> Encoded:
    """Build the dead letter of a message: its key, bytes and headers, and the `dlq.` headers.

    `limit` is the topic's `max.message.bytes`, `extra` further headers. What does not fit goes in
    this order: payload, original headers, key; `dlq.truncated` names it. The record's own time is
    left to the client: dated back, retention would delete it.
    """
    about = _about(message, failure, origin, tried)
    if failure.text and (with_text or failure.harmless):
        about.append((PREFIX + "message", _encoded(failure.text[:TEXT_LIMIT])))
    kept: list[tuple[str, str | bytes | None]] = [
        header for header in message.headers if not header[0].startswith(PREFIX)
    ]
    kept += [header for header in extra if header[0] not in {name for name, _ in kept}]
    record = Encoded(topic, message.value, message.key, [*kept, *about])
    dropped: list[str] = []
    for part in ("payload", "headers", "key"):
        if size_of(record) <= limit:
            break
        dropped.append(part)
        if part == "payload":
            record.value = b""
        elif part == "headers":
            kept = []
        else:
            record.key = None
        record.headers = [*kept, *about, (PREFIX + "truncated", ",".join(dropped).encode())]
    return record


def _about(
    message: Message, failure: Failure, origin: Origin, tried: Tried
) -> list[tuple[str, str | bytes | None]]:
    before = {name: value for name, value in message.headers if name.startswith(PREFIX)}
    redrives = _number(before.get(PREFIX + "redrives"))
    about = {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "group": origin.group,
        "pipeline": origin.pipeline,
        "handler": origin.handler,
        "reason": failure.reason,
        "error": failure.error[:TEXT_LIMIT],
        "attempts": tried.attempts,
        "first_failure": tried.first_failure,
        "redrives": redrives or 0,
    }
    written = {PREFIX + name: _encoded(str(value)) for name, value in about.items()}
    return list((written | _kept(message, before, origin)).items())


def _kept(message: Message, before: Mapping[str, bytes | None], origin: Origin) -> dict[str, bytes]:
    """What a redriven message goes on saying: where it was read at first, and when it failed."""
    if message.topic != redrive_topic(origin.group):
        return {}
    names = [PREFIX + name for name in (*_PLACE, "first_failure")]
    return {name: value for name in names if (value := before.get(name)) is not None}


def _encoded(text: str) -> bytes:
    """The text as UTF-8; a dead letter must not fail at half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace")


def _number(value: bytes | None) -> int | None:
    return int(value[:9]) if value is not None and value.isdigit() else None
