"""What a broker makes of a batch of records: it takes all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.testing.memory.cluster import Topic
from worker.types import Encoded

OVERHEAD: Final = 61
"""Bytes of a batch in front of its records."""
MOST: Final = 21
"""Bytes of a record beside what it holds, at most."""
SMALL: Final = 64
"""Numbers nearer to 0 take one byte."""


def refusals(
    batch: Sequence[Encoded], contents: Sequence[int], topic: Topic, now: int
) -> Sequence[str] | None:
    """Why a broker refuses a batch at a time, by its records; None where it takes it.

    `contents` are as `content_size` says. A single bad record is not told apart from its
    neighbours.
    """
    limit = topic.max_message_bytes
    if not surely_fits(contents, limit) and (size := _size_of(batch, contents)) > limit:
        return [f"MSG_SIZE_TOO_LARGE: {size} bytes, {limit} at most"] * len(batch)
    flaws = [_flaw(record, topic, now) for record in batch]
    found = [flaw for flaw in flaws if flaw is not None]
    if not found:
        return None
    others = found[0] if len(found) == 1 else "_INVALID_DIFFERENT_RECORD: others are bad"
    return [flaw or others for flaw in flaws]


def surely_fits(contents: Sequence[int], limit: int) -> bool:
    """Whether a batch of records that hold so much has so many bytes at most, whatever they are.

    That is told at once; else they have to be measured.
    """
    return OVERHEAD + sum(contents) + MOST * len(contents) <= limit


def _size_of(batch: Sequence[Encoded], contents: Sequence[int]) -> int:
    """Bytes of a batch as a broker measures it, not compressed."""
    first, size = batch[0].timestamp or 0, OVERHEAD
    for place, content in enumerate(contents):
        size += record_size(content, place, (batch[place].timestamp or first) - first)
    return size


def record_size(content: int, place: int, later: int) -> int:
    """Bytes of a record at a place of its batch, so many milliseconds later than the first."""
    body = 1 + _number(later) + _number(place) + content
    return _number(body) + body


def content_size(record: Encoded) -> int:
    """Bytes of what a record holds, wherever it is."""
    size = _field(record.key) + _field(record.value) + _number(len(record.headers))
    for name, value in record.headers:
        size += _field(name) + _field(value)
    return size


def _flaw(record: Encoded, topic: Topic, now: int) -> str | None:
    if record.key is None and topic.is_compacted:
        return "INVALID_RECORD: a compacted topic takes no record without a key"
    if record.timestamp is not None and topic.dated(record.timestamp, now) > now + topic.ahead:
        return f"INVALID_TIMESTAMP: {record.timestamp} is too far ahead"
    return None


def _field(content: bytes | str | None) -> int:
    if content is None:
        return 1
    size = len(content.encode() if isinstance(content, str) else content)
    return _number(size) + size


def _number(value: int) -> int:
    """Bytes of a number as records hold it: seven bits in each, one bit is the sign's."""
    if -SMALL <= value < SMALL:
        return 1
    unsigned = 2 * value if value >= 0 else -2 * value - 1
    return -(-unsigned.bit_length() // 7)
