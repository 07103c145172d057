"""What is written beside a committed offset: which messages above it are finished.

`sw1:` and sections that are divided by commas, each a letter and its data; unknown letters are left
to later versions. The map is one section: `r` for the lengths of unfinished and finished stretches
in turn, beginning at the committed offset, or `b` for one bit per offset, whichever is shorter.
Kafka calls the whole the metadata of a commit and takes 4,095 characters of it by default.
"""

from __future__ import annotations

from base64 import b85decode, b85encode
from collections.abc import Iterable, Iterator
from math import log2
from typing import Final

from worker.flow.offsets import Ranges, ranges_of

PREFIX: Final = "sw1:"
BUDGET: Final = 4_000
"""Characters of an envelope at most."""

_MAP_BYTES: Final = 3_150
"""Bytes of a map at most: base 85 makes 3,938 characters of them."""
_MAX_OFFSET: Final = 2**63


def encode(committable: int, finished: Ranges) -> str:
    """The envelope of a commit with these finished ranges above it; empty without any.

    What does not fit is left out from the top; `fits` says how to avoid that.
    """
    while finished:
        kind, body = _map(committable, finished)
        if len(body) <= _MAP_BYTES:
            return f"{PREFIX}{kind}{b85encode(body).decode()}"
        finished = finished[: len(finished) * _MAP_BYTES // len(body)]
    return ""


def decode(metadata: str, committed: int) -> Ranges | None:
    """The finished ranges above a committed offset; None when the metadata is not an envelope."""
    if not metadata:
        return ()
    if not metadata.startswith(PREFIX):
        return None
    try:
        for section in metadata.removeprefix(PREFIX).split(","):
            match section[:1]:
                case "r":
                    return _from_stretches(committed, b85decode(section[1:]))
                case "b":
                    return _from_bits(committed, b85decode(section[1:]))
    except ValueError:
        return None
    return ()


def fits(span: int, unfinished: int) -> bool:
    """Whether the map of so many offsets fits, however the unfinished ones lie among them.

    As bits it takes an eighth of the span. As stretches it is longest when no two unfinished
    offsets are neighbours and what is finished lies evenly between them: a number x takes
    1 + log2(x) / 7 bytes at most, and the logarithm is concave.
    """
    if span <= _MAP_BYTES * 8 or not unfinished:
        return True
    return unfinished * (2 + log2(max(1.0, span / unfinished)) / 7) <= _MAP_BYTES


def _map(committable: int, finished: Ranges) -> tuple[str, bytes]:
    stretches = _stretches(committable, finished)
    if (finished[-1][1] - committable + 7) // 8 < len(stretches):
        return "b", _bits(committable, finished)
    return "r", stretches


def _stretches(committable: int, finished: Ranges) -> bytes:
    body, before = bytearray(), committable
    for start, end in finished:
        body += _varint(start - before)
        body += _varint(end - start)
        before = end
    return bytes(body)


def _from_stretches(committed: int, body: bytes) -> Ranges:
    ranges, offset, lengths = [], committed, list(_varints(body))
    for unfinished, finished in zip(lengths[::2], lengths[1::2], strict=True):
        start, offset = offset + unfinished, offset + unfinished + finished
        if not unfinished or not finished or offset > _MAX_OFFSET:
            raise ValueError("not a map")
        ranges.append((start, offset))
    return ranges


def _bits(committable: int, finished: Ranges) -> bytes:
    bits = 0
    for start, end in finished:
        bits |= ((1 << end - start) - 1) << start - committable
    return bits.to_bytes((finished[-1][1] - committable + 7) // 8, "little")


def _from_bits(committed: int, body: bytes) -> Ranges:
    if body[:1] and body[0] & 1:
        raise ValueError("not a map")
    return ranges_of(
        committed + 8 * index + bit
        for index, byte in enumerate(body)
        for bit in range(8)
        if byte >> bit & 1
    )


def _varint(number: int) -> bytes:
    """The number in bytes of seven bits, lowest first (LEB128)."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _varints(body: Iterable[int]) -> Iterator[int]:
    number = shift = 0
    for byte in body:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("cut off")
