"""What a handler returned, turned into encoded records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

from worker.flow.deadletter import size_of
from worker.ports import Observer
from worker.serdes import Encoder
from worker.types import Done, Encoded, Headers, Message, Record, SameKey

FILTERED: Final = Done(())

LEGAL = "legal results are None, a value, a Record, or a list, tuple or iterator of these"

ENVELOPE: Final = 512
"""Bytes that a record without headers needs at most around its key and value."""


PLAIN: Final = frozenset({NoneType, dict, list, tuple, str, bytes, int, float, bool, Record})
"""Types that are no iterators for sure; asking the others takes longer than encoding them."""


class BadResult(Exception):
    """What a handler returned cannot be produced; `reason` is a dead-letter reason."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(slots=True)
class Results:
    """Encodes what a handler returned, within the limits of the topics."""

    encode: Encoder
    to: str | None
    limits: Mapping[str, int]
    """`max.message.bytes` of every topic that may be produced to."""
    observer: Observer
    source_time: bool
    """Whether results carry the time of their message instead of now."""

    def of(self, message: Message, result: Any) -> Done:
        """The records of one result; raises `BadResult` and whatever the encoder raises."""
        kind = type(result)
        if kind is list or kind is tuple:
            return Done([self._record(message, one) for one in result if one is not None])
        return Done((self._record(message, result),))

    def _record(self, message: Message, result: Any) -> Encoded:
        if type(result) is Record:
            encoded = self._explicit(message, result)
        else:
            timestamp = message.timestamp if self.source_time else None
            encoded = Encoded(self.to or "", self.encode(result), message.key, (), None, timestamp)
        extra = self.observer.headers_for(message, encoded)
        if extra:
            encoded.headers = [*encoded.headers, *extra]
        limit = self.limits.get(encoded.topic)
        if limit is None:
            raise BadResult("unencodable", self._no_such_topic(encoded.topic))
        payload = len(encoded.value or b"") + len(encoded.key or b"")
        if payload + ENVELOPE > limit or encoded.headers:
            self._check_size(encoded, limit)
        return encoded

    def _explicit(self, message: Message, record: Record) -> Encoded:
        key = message.key if isinstance(record.key, SameKey) else record.key
        return Encoded(
            record.topic or self.to or "",
            None if record.value is None else self.encode(record.value),
            key.encode() if isinstance(key, str) else key,
            _checked(record.headers),
            record.partition,
            record.timestamp or (message.timestamp if self.source_time else None),
        )

    def _check_size(self, record: Encoded, limit: int) -> None:
        size = size_of(record)
        if size > limit:
            raise BadResult("too_large", f"a result of {size} bytes; {record.topic} takes {limit}")

    def _no_such_topic(self, topic: str) -> str:
        if not topic:
            return "a result without a topic; set `to` in the pipeline or return Record(topic=...)"
        known = ", ".join(sorted(self.limits))
        return f"a result for topic {topic!r}, which the spec does not name; it names {known}"


def _checked(headers: Headers) -> Headers:
    """Refuse header names at which the client cuts off or crashes."""
    for name, _ in headers:
        if not name.isprintable() or not name.encode(errors="ignore").decode() == name:
            raise BadResult("unencodable", f"the name of a header is not printable text: {name!a}")
    return headers


def exhausted(result: Any) -> Any:
    """The result with its iterator run to the end, since what a generator does is the handler's."""
    return list(result) if isinstance(result, Iterator) else result
