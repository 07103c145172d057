"""What a handler returned, turned into encoded records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from worker.flow.deadletter import size_of
from worker.ports import Observer
from worker.serdes import Encoder
from worker.types import Done, Encoded, Message, Record, SameKey

FILTERED: Final = Done(())

LEGAL = "legal results are None, a value, a Record, or a list, tuple or iterator of these"

ENVELOPE: Final = 512
"""Bytes that a record without headers needs at most around its key and value."""


class BadResult(Exception):
    """What a handler returned cannot be produced; `reason` is a dead-letter reason, the text safe."""

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
        if result is None:
            return FILTERED
        if type(result) is Record:
            return Done((self._encoded(message, result),))
        if isinstance(result, (list, tuple)) and not hasattr(result, "_fields"):
            return Done([self._encoded(message, one) for one in result if one is not None])
        return Done((self._encoded(message, result),))

    def _encoded(self, message: Message, result: Any) -> Encoded:
        record = result if type(result) is Record else Record(result)
        value, topic, key = record.value, record.topic or self.to, record.key
        limit = self.limits.get(topic, 0) if topic is not None else 0
        if topic is None or not limit:
            raise BadResult("unencodable", self._no_such_topic(topic))
        if isinstance(key, SameKey):
            key = message.key
        encoded = Encoded(
            topic,
            None if value is None else self.encode(value),
            key.encode() if isinstance(key, str) else key,
            record.headers,
            record.partition,
            record.timestamp or (message.timestamp if self.source_time else None),
        )
        extra = self.observer.headers_for(message, encoded)
        if extra:
            encoded.headers = [*encoded.headers, *extra]
        self._check_size(encoded, limit)
        return encoded

    def _check_size(self, record: Encoded, limit: int) -> None:
        payload = len(record.value or b"") + len(record.key or b"")
        if not record.headers and payload + ENVELOPE < limit:
            return
        size = size_of(record)
        if size > limit:
            raise BadResult("too_large", f"a result of {size} bytes; {record.topic} takes {limit}")

    def _no_such_topic(self, topic: str | None) -> str:
        if topic is None:
            return "a result without a topic; set `to` in the pipeline or return Record(topic=...)"
        known = ", ".join(sorted(self.limits))
        return f"a result for topic {topic!r}, which the spec does not name; it names {known}"


def exhausted(result: Any) -> Any:
    """The result with its iterator run to the end, since what a generator does is the handler's."""
    return list(result) if isinstance(result, Iterator) else result
