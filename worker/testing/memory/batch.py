"""What a broker makes of a batch of records: it takes all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.testing.memory.cluster import Topic
from worker.types import Encoded

OVERHEAD: Final = 61
"""Bytes of a batch in front of its records."""
SMALL: Final = 64
"""Numbers nearer to 0 take one byte."""


def refusals(batch: Sequence[Encoded], topic: Topic, now: int) -> Sequence[str] | None:
    """Why a broker refuses a batch at a time, by its records; None where it takes it.

    A single bad record is not told apart from its neighbours.
    """
    size = size_of(batch)
    if size > topic.max_message_bytes:
        return [f"MSG_SIZE_TOO_LARGE: {size} bytes, {topic.max_message_bytes} at most"] * len(batch)
    flaws = [_flaw(record, topic, now) for record in batch]
    found = [flaw for flaw in flaws if flaw is not None]
    if not found:
        return None
    others = found[0] if len(found) == 1 else "_INVALID_DIFFERENT_RECORD: others are bad"
    return [flaw or others for flaw in flaws]


def size_of(batch: Sequence[Encoded]) -> int:
    """Bytes of a batch as a broker measures it, not compressed."""
    first = batch[0].timestamp or 0
    return OVERHEAD + sum(
        record_size(record, place, (record.timestamp or first) - first)
        for place, record in enumerate(batch)
    )


def record_size(record: Encoded, place: int, later: int) -> int:
    """Bytes of a record at a place of its batch, so many milliseconds later than the first."""
    body = 1 + _number(later) + _number(place) + _field(record.key) + _field(record.value)
    body += _number(len(record.headers))
    body += sum(_field(name.encode()) + _field(value) for name, value in record.headers)
    return _number(body) + body


def _flaw(record: Encoded, topic: Topic, now: int) -> str | None:
    if topic.is_compacted and record.key is None:
        return "INVALID_RECORD: a compacted topic takes no record without a key"
    if topic.dated(record.timestamp, now) > now + topic.ahead:
        return f"INVALID_TIMESTAMP: {record.timestamp} is too far ahead"
    return None


def _field(content: bytes | str | None) -> int:
    if content is None:
        return 1
    text = content.encode() if isinstance(content, str) else content
    return _number(len(text)) + len(text)


def _number(value: int) -> int:
    """Bytes of a number as records hold it: seven bits in each, one bit is the sign's."""
    if -SMALL <= value < SMALL:
        return 1
    unsigned = 2 * value if value >= 0 else -2 * value - 1
    return -(-unsigned.bit_length() // 7)
