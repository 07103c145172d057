"""Dead letters: the original record with headers that say what happened to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_args

from worker.flow import headers, later
from worker.flow.attempts import Tried
from worker.flow.later import History
from worker.flow.retry import own_names
from worker.settings import DeadLetterSettings, RedactSettings
from worker.settings.topics import REDRIVE, is_retry_topic, redrive_topic
from worker.types import Encoded, Failure, Headers, Message, RawMessage, Reason

PREFIX = "dlq."
STACK_LIMIT = 4096
"""Bytes that `dlq.stack` holds at most, of a stack its end, where the failure is."""
LEAST_LIMIT = 4096
"""Bytes that a topic has to take so that it takes every dead letter."""

_STACK = PREFIX + "stack"
_REDACTED = PREFIX + "redacted"
VALUE = "value"
"""What `dlq.redacted` says of a payload that was left out."""

_NUMBERS = ("partition", "offset", "timestamp", "first_failure")
"""What a redriven message goes on saying beside its first topic."""


REASONS: Final = frozenset(get_args(Reason))
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
    return size + size_of_headers(record.headers)


def size_of_headers(headers: Headers) -> int:
    """Bytes that headers take in a record, at most."""
    return sum(_HEADER_OVERHEAD + len(name.encode()) + len(value or b"") for name, value in headers)


def dead_letter(
    message: Message,
    failure: Failure,
    origin: Origin,
    target: DeadLetterSettings,
    *,
    topic: str,
    limit: int,
    tried: Tried,
    kept: Headers | None = None,
) -> Encoded:
    """Build the dead letter of a message: its key, bytes and headers, and the `dlq.` headers.

    `limit` is the topic's `max.message.bytes`; `kept` are the headers of the message, where it is
    not to keep its own. What does not fit goes in this order: stack, payload, original headers,
    key; `dlq.truncated` names what the message lacks, `dlq.redacted` what was left out on purpose.
    The record's own time is left to the client: dated back, retention would delete it.
    """
    about = _about(message, failure, origin, tried) | _texts(failure, target)
    is_replaced, carried = _replaced(message), message.headers if kept is None else kept
    own = [one for one in carried if not is_replaced(one[0])]
    record = Encoded(topic, message.value, message.key, own)
    redacted = [*_redacted_before(message), *_redact(record, target.redact)]
    if redacted:
        value_first = sorted(dict.fromkeys(redacted), key=lambda mark: mark != VALUE)
        about[_REDACTED] = headers.beginning(",".join(value_first))
    return _fitted(record, about, limit)


def first_time_of(raw: RawMessage) -> int:
    """A message's time where it was read first, before retry topics and redrives.

    In milliseconds since 1970.
    """
    if not _comes_again(raw.topic()):
        return raw.timestamp()[1]
    message = Message(raw)
    history = later.history_of(message)
    if history.topic.endswith(REDRIVE):
        history = _before_redrive(message, history)
    return history.timestamp


@lru_cache(maxsize=1_024)
def _comes_again(topic: str) -> bool:
    return is_retry_topic(topic) or topic.endswith(REDRIVE)


def is_named(header: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns names a header, in whatever case; `*` is any characters."""
    return any(_expression(pattern).fullmatch(header) for pattern in patterns)


@lru_cache(maxsize=1_024)
def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern of names; what stands between two `*` is looked for once, and stays where it is.

    So a long name takes steps by its length, not by a power of it.
    """
    first, *others = map(re.escape, pattern.split("*"))
    between = "".join(f"(?>.*?{part})" for part in others[:-1])
    last = "".join(f".*{part}" for part in others[-1:])
    return re.compile(first + between + last, re.IGNORECASE | re.DOTALL)


def _replaced(message: Message) -> Callable[[str], bool]:
    """Tells which headers of a message its dead letter has not, or says anew."""
    gone = later.NAMES if is_retry_topic(message.topic) else frozenset()
    return lambda name: name.startswith(PREFIX) or name in gone


def _redact(record: Encoded, redact: RedactSettings) -> Iterator[str]:
    """Take out of a record what nobody is to see in it, and say what that is."""
    if redact.value and record.value:
        record.value = b""
        yield VALUE
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
    history = later.history_of(message).after(tried, failure)
    if history.topic == redrive_topic(origin.group):
        history = _before_redrive(message, history)
    about = {
        "topic": history.topic,
        "partition": history.partition,
        "offset": history.offset,
        "timestamp": history.timestamp,
        "group": origin.group,
        "pipeline": origin.pipeline,
        "handler": origin.handler,
        "reason": failure.reason,
        "error": failure.error,
        "attempts": history.attempts,
        "first_failure": history.first_failure,
        "redrives": headers.number(dict(message.headers).get(PREFIX + "redrives")) or 0,
    }
    if history.took is not None:
        about["took"] = history.took
    return headers.written(PREFIX, about)


def _before_redrive(message: Message, history: History) -> History:
    """What a redriven message goes on saying: where it was read at first, and when it failed."""
    known = dict(message.headers)
    said: dict[str, Any] = {name: headers.number(known.get(PREFIX + name)) for name in _NUMBERS}
    said["topic"] = headers.text(known.get(PREFIX + "topic")) or None
    return history._replace(**{name: value for name, value in said.items() if value is not None})


def _texts(failure: Failure, target: DeadLetterSettings) -> dict[str, bytes]:
    texts = {}
    if failure.text and (target.message or failure.harmless):
        texts[PREFIX + "message"] = headers.beginning(failure.text)
    if failure.stack and target.stack:
        texts[_STACK] = _end(failure.stack)
    return texts


def _end(text: str) -> bytes:
    return headers.whole(headers.encoded(text)[-STACK_LIMIT:])
