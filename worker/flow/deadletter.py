"""Dead letters: the original record with headers that say what happened to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.flow.attempts import Tried
from worker.flow.retry import own_names
from worker.settings import DeadLetterSettings, RedactSettings
from worker.types import Encoded, Failure, Headers, Message

PREFIX = "dlq."
TEXT_LIMIT = 512
"""Bytes that a `dlq.` header holds at most, of a text its beginning."""
STACK_LIMIT = 4096
"""Bytes that `dlq.stack` holds at most, of a stack its end, where the failure is."""
LEAST_LIMIT = 4096
"""Bytes that a topic has to take so that it takes every dead letter."""

_STACK = PREFIX + "stack"
_REDACTED = PREFIX + "redacted"
_VALUE = "value"

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
    target: DeadLetterSettings,
    *,
    topic: str,
    limit: int,
    tried: Tried,
    extra: Headers = (),
) -> Encoded:
    """Build the dead letter of a message: its key, bytes and headers, and the `dlq.` headers.

    `limit` is the topic's `max.message.bytes`, `extra` further headers. What does not fit goes in
    this order: stack, payload, original headers, key; `dlq.truncated` names what the message lacks,
    `dlq.redacted` what was left out on purpose. The record's own time is left to the client: dated
    back, retention would delete it.
    """
    about = _about(message, failure, origin, tried) | _texts(failure, target)
    record = Encoded(topic, message.value, message.key, _headers(message, extra))
    redacted = [*_redacted_before(message), *_redact(record, target.redact)]
    if redacted:
        value_first = sorted(dict.fromkeys(redacted), key=lambda mark: mark != _VALUE)
        about[_REDACTED] = _beginning(",".join(value_first))
    return _fitted(record, about, limit)


def is_named(header: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns names a header, in whatever case; `*` is any characters."""
    flags = re.IGNORECASE | re.DOTALL
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), header, flags) for pattern in patterns
    )


def _headers(message: Message, extra: Headers) -> list[tuple[str, str | bytes | None]]:
    own = [header for header in message.headers if not header[0].startswith(PREFIX)]
    names = {name for name, _ in own}
    return [*own, *(header for header in extra if header[0] not in names)]


def _redact(record: Encoded, redact: RedactSettings) -> Iterator[str]:
    """Take out of a record what nobody is to see in it, and say what that is."""
    if redact.value and record.value:
        record.value = b""
        yield _VALUE
    names = {name for name, _ in record.headers if is_named(name, redact.headers)}
    yield from (f"headers.{name}" for name, _ in record.headers if name in names)
    record.headers = [header for header in record.headers if header[0] not in names]


def _redacted_before(message: Message) -> list[str]:
    """What was taken out of an earlier dead letter that was sent again: it still lacks that."""
    marks = dict(message.headers).get(_REDACTED)
    return marks.decode("utf-8", "ignore").split(",") if marks else []


def _fitted(record: Encoded, about: dict[str, bytes], limit: int) -> Encoded:
    """The record with these headers too, and without what does not fit."""
    kept = record.headers
    record.headers = [*kept, *about.items()]
    dropped: list[str] = []
    while size_of(record) > limit:
        if _STACK in about:
            del about[_STACK]
        elif record.value:
            record.value = b""
            dropped.append("payload")
        elif kept:
            kept = []
            dropped.append("headers")
        elif record.key:
            record.key = None
            dropped.append("key")
        else:
            break
        if dropped:
            about[PREFIX + "truncated"] = ",".join(dropped).encode()
        record.headers = [*kept, *about.items()]
    return record


def _about(message: Message, failure: Failure, origin: Origin, tried: Tried) -> dict[str, bytes]:
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
        "error": failure.error,
        "attempts": tried.attempts,
        "first_failure": tried.first_failure,
        "redrives": redrives or 0,
    }
    written = {PREFIX + name: _beginning(str(value)) for name, value in about.items()}
    return written | _kept(message, before, origin)


def _kept(message: Message, before: Mapping[str, bytes | None], origin: Origin) -> dict[str, bytes]:
    """What a redriven message goes on saying: where it was read at first, and when it failed."""
    if message.topic != redrive_topic(origin.group):
        return {}
    names = [PREFIX + name for name in (*_PLACE, "first_failure")]
    kept = {name: value for name in names if (value := before.get(name)) is not None}
    return {name: _whole(value[:TEXT_LIMIT]) for name, value in kept.items()}


def _texts(failure: Failure, target: DeadLetterSettings) -> dict[str, bytes]:
    texts = {}
    if failure.text and (target.message or failure.harmless):
        texts[PREFIX + "message"] = _beginning(failure.text)
    if failure.stack and target.stack:
        texts[_STACK] = _end(failure.stack)
    return texts


def _beginning(text: str) -> bytes:
    return _whole(_encoded(text)[:TEXT_LIMIT])


def _end(text: str) -> bytes:
    return _whole(_encoded(text)[-STACK_LIMIT:])


def _whole(data: bytes) -> bytes:
    """UTF-8 without characters that were cut at an end."""
    return data.decode("utf-8", "ignore").encode()


def _encoded(text: str) -> bytes:
    """The text as UTF-8; a dead letter must not fail at half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace")


def _number(value: bytes | None) -> int | None:
    return int(value[:9]) if value is not None and value.isdigit() else None
