"""What the client knows of its membership in a group, and tells in no call of its own."""

from __future__ import annotations

import struct
from typing import Final

_METADATA: Final = struct.Struct("=7si")
"""How librdkafka begins to write a group's metadata: a mark, then the generation."""
_MARK: Final = b"CGMDv2:"


def generation(metadata: bytes) -> int:
    """The generation of a member, its epoch in KIP-848: above 0 from when the group has it.

    A member that has not joined has 0 or -1. Raises `ValueError` for metadata that is
    not written as librdkafka 2.16 does.
    """
    mark, number = _METADATA.unpack_from(metadata)
    if mark != _MARK:
        raise ValueError(f"metadata of a group begins with {mark!r}, not {_MARK!r}")
    return int(number)
