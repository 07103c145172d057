"""What is written beside a committed offset: what is finished above it, and a note of its owner.

`sw1:` and sections that are divided by commas, each a letter and its data; unknown letters are left
to later versions. The note: `o` for the owner, `s` for starts after a crash, `x` for a suspect's
distance from the committed offset, `t` for its tries, `a` if it was tried apart. The map is one
section: `r` for the lengths of unfinished and finished stretches in turn, beginning at the
committed offset, or `b` for one bit per offset, whichever is shorter. In front of what counts from
it is `c`, that offset: tools such as MirrorMaker commit another with metadata that they only copy.
Kafka calls the whole the metadata of a commit and takes 4,095 characters of it by default.
"""

from __future__ import annotations

import re
from base64 import b85decode, b85encode
from collections.abc import Iterable, Iterator
from math import log2
from typing import Final

from worker.flow.crashes import Note
from worker.flow.offsets import Ranges, ranges_of

PREFIX: Final = "sw1:"
BUDGET: Final = 4_000
"""Characters of an envelope at most."""

_MAP_BYTES: Final = 3_150
"""Bytes of a map at most: base 85 makes 3,938 characters of them."""
_MAX_OFFSET: Final = 2**63
_NOTHING: Final = Note()
_NOTE: Final = re.compile(
    r"o(?P<o>\w{1,16})|s(?P<s>\d{1,9})|c(?P<c>\d{1,19})|x(?P<x>\d{1,19})|t(?P<t>\d{1,9})|(?P<a>a)",
    re.ASCII,
)


def encode(committable: int, finished: Ranges, note: Note = _NOTHING) -> str:
    """The envelope of a commit with a note and these finished ranges above it; empty without both.

    What does not fit is left out from the top; `fits` says how to avoid that.
    """
    place, finished_above = _suspect(committable, note), _map_section(committable, finished)
    base = [f"c{committable}"] if place or finished_above else []
    sections = [*_owner(note), *base, *place, *finished_above]
    return PREFIX + ",".join(sections) if sections else ""


def decode(metadata: str, committed: int) -> Ranges | None:
    """The finished ranges above a committed offset; None when that is not what the metadata is."""
    if not metadata:
        return ()
    if not metadata.startswith(PREFIX):
        return None
    sections = {section[:1]: section[1:] for section in metadata[len(PREFIX) :].split(",")}
    try:
        for kind, read in (("r", _from_stretches), ("b", _from_bits)):
            if kind in sections:
                ranges = read(committed, b85decode(sections[kind]))
                return ranges if sections.get("c") == str(committed) else None
    except ValueError:
        return None
    return ()


def note_of(metadata: str, committed: int) -> Note:
    """The note of an envelope; one without any says that nothing is known of an owner."""
    found: dict[str, str] = {}
    if metadata.startswith(PREFIX):
        for section in metadata.removeprefix(PREFIX).split(","):
            if (match := _NOTE.fullmatch(section)) is not None:
                found |= {name: data for name, data in match.groupdict().items() if data}
    note = Note(found.get("o", ""), int(found.get("s", 0)))
    if "x" not in found or found.get("c") != str(committed):
        return note
    suspect = committed + int(found["x"])
    return note._replace(suspect=suspect, tries=int(found.get("t", 0)), apart="a" in found)


def fits(span: int, unfinished: int) -> bool:
    """Whether the map of so many offsets fits, however the unfinished ones lie among them.

    As bits it takes an eighth of the span. As stretches it is longest when no two unfinished
    offsets are neighbours and what is finished lies evenly between them: a number x takes
    1 + log2(x) / 7 bytes at most, and the logarithm is concave.
    """
    if span <= _MAP_BYTES * 8 or not unfinished:
        return True
    return unfinished * (2 + log2(max(1.0, span / unfinished)) / 7) <= _MAP_BYTES


def _owner(note: Note) -> Iterator[str]:
    if note.owner:
        yield f"o{note.owner}"
    if note.starts:
        yield f"s{note.starts}"


def _suspect(committable: int, note: Note) -> list[str]:
    if note.suspect is None or note.suspect < committable:
        return []
    return [f"x{note.suspect - committable}", f"t{note.tries}", *(["a"] if note.apart else [])]


def _map_section(committable: int, finished: Ranges) -> list[str]:
    while finished:
        kind, body = _map(committable, finished)
        if len(body) <= _MAP_BYTES:
            return [kind + b85encode(body).decode()]
        finished = finished[: len(finished) * _MAP_BYTES // len(body)]
    return []


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
