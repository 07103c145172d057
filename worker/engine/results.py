"""What a handler returned, turned into encoded records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from types import NoneType
from typing import Any, Final

from worker.flow.deadletter import first_time_of, size_of, size_of_headers
from worker.ports import Observer
from worker.serdes import Encoder
from worker.types import Done, Encoded, Headers, Outcome, RawMessage, Record, SameKey, each

FILTERED: Final = Done(())

LEGAL = "legal results are None, a value, a Record, or a list, tuple or iterator of these"

ENVELOPE: Final = 512
"""Bytes that a record without headers needs at most around its key and value."""

LATEST: Final = 2**63 - 1
"""The last time that a record can carry, in milliseconds since 1970."""

VALUES: Final = frozenset({dict, str, bytes, int, float, bool})
"""Types that are one value each, as most results are."""

PLAIN: Final = VALUES | {NoneType, list, tuple, Record}
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
    partitions: Callable[[str, int], int]
    """How many partitions a topic has, by its name and the partition that is wanted."""
    observer: Observer
    source_time: bool
    """Whether results carry the time of their message where it was read first, instead of now."""

    def of(self, raw: RawMessage, result: Any) -> Outcome:
        """What becomes of a result; raises `BadResult` and whatever the encoder raises."""
        kind = type(result)
        if kind is list or kind is tuple:
            return Done([self._one(raw, one) for one in result if one is not None])
        return FILTERED if result is None else self._one(raw, result)

    def records(self, raws: Sequence[RawMessage], values: Sequence[bytes]) -> list[Outcome] | None:
        """Records for encoded results, one of each message; None if they need a look each.

        What a batch saves in this way is a tenth of the time of a message.
        """
        if self.source_time:
            return None
        topic, keys, headers = self.to or "", list(each("key", raws)), self.observer.added(raws)
        size = max(map(len, values)) + max(map(len, filter(None, keys)), default=0) + ENVELOPE
        size += max(map(size_of_headers, filter(None, headers)), default=0)
        if size > self.limits.get(topic, 0):
            return None
        return list(map(Encoded, repeat(topic), values, keys, headers or repeat(())))

    def _one(self, raw: RawMessage, result: Any) -> Encoded:
        if type(result) is Record:
            return self._explicit(raw, result)
        return self.record(raw, self.encode(result))

    def record(self, raw: RawMessage, value: bytes) -> Encoded:
        """The record for an encoded result; raises `BadResult`."""
        record = Encoded(self.to or "", value, raw.key())
        if self.source_time:
            record.timestamp = first_time_of(raw)
        headers = self.observer.headers_for(raw, record)
        size = len(value) + len(record.key or b"") + ENVELOPE
        if headers or size > self.limits.get(record.topic, 0):
            record.headers = headers
            self._check(record)
        return record

    def _explicit(self, raw: RawMessage, record: Record) -> Encoded:
        topic = record.topic or self.to or ""
        self._check_partition(topic, record.partition)
        _check_time(record.timestamp)
        encoded = Encoded(
            topic,
            None if record.value is None else self.encode(record.value),
            raw.key() if isinstance(record.key, SameKey) else _bytes("key", record.key),
            _headers(record.headers),
            record.partition,
            record.timestamp or (first_time_of(raw) if self.source_time else None),
        )
        encoded.headers = self.observer.headers_for(raw, encoded)
        self._check(encoded)
        return encoded

    def _check(self, record: Encoded) -> None:
        limit = self.limits.get(record.topic)
        if limit is None:
            raise BadResult("unencodable", self._no_such_topic(record.topic))
        size = size_of(record)
        if size > limit:
            raise BadResult("too_large", f"a result of {size} bytes; {record.topic} takes {limit}")

    def _check_partition(self, topic: str, partition: object) -> None:
        if partition is None or topic not in self.limits:
            return
        if not isinstance(partition, int) or partition < 0:
            raise BadResult("unencodable", "a partition is None or a whole number from 0")
        known = self.partitions(topic, partition)
        if partition >= known:
            words = f"a result for partition {partition} of {topic}, which has {known}"
            raise BadResult("unencodable", words)

    def _no_such_topic(self, topic: str) -> str:
        if not topic:
            return "a result without a topic; set `to` in the pipeline or return Record(topic=...)"
        known = ", ".join(sorted(self.limits))
        return f"a result for topic {topic!r}, which the spec does not name; it names {known}"


def _check_time(timestamp: object) -> None:
    """Refuse what is no time, and 0, which the client takes for now."""
    if timestamp is None or (type(timestamp) is int and 0 < timestamp <= LATEST):
        return
    words = f"a timestamp is None or milliseconds since 1970, a whole number from 1 to {LATEST}"
    raise BadResult("unencodable", words)


def _headers(headers: Headers) -> Headers:
    """Refuse header names at which the client cuts off or crashes."""
    for name, _ in headers:
        if not name.isprintable() or not name.encode(errors="ignore").decode() == name:
            raise BadResult("unencodable", f"the name of a header is not printable text: {name!a}")
    return [(name, _bytes("header", value)) for name, value in headers]


def _bytes(what: str, value: object) -> bytes | None:
    """A key or a header's value as the client takes it; it refuses other kinds of bytes."""
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise BadResult("unencodable", f"a {what} is bytes, str or None, not {type(value).__name__}")


def exhausted(result: Any) -> Any:
    """The result with its iterator run to the end, since what a generator does is the handler's."""
    return list(result) if isinstance(result, Iterator) else result
