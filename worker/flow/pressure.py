"""How much a pipeline may hold in memory, and when to stop and resume fetching."""

from __future__ import annotations

from typing import Final, NamedTuple

PORTION: Final = 1024**2
"""Bytes of the messages that are taken at a time, about: more than a few hold much memory."""


class Share(NamedTuple):
    """What one partition may have waiting for handlers, so that others come to their turn."""

    messages: int
    bytes: int


class Pressure:
    """Counts what is between poll and acknowledgement against two bounds."""

    __slots__ = ("_max_bytes", "_max_messages", "bytes", "messages", "portion")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.messages = 0
        self.bytes = 0
        self.portion = PORTION
        """How many messages to take at a time: fewer, the larger they have come in last."""

    def add(self, messages: int, size: int) -> None:
        """Messages of `size` bytes in all have come in."""
        self.messages += messages
        self.bytes += size
        if messages:
            self.portion = max(1, PORTION // max(1, size // messages))

    def remove(self, messages: int, size: int) -> None:
        """Messages of `size` bytes in all are finished or forgotten."""
        self.messages -= messages
        self.bytes -= size

    @property
    def room(self) -> int:
        """How many more messages fit, taking them to be as large as those held; 0 when full.

        One does while any byte is free: large ones that hang must not keep small ones out.
        """
        by_count = self._max_messages - self.messages
        free = self._max_bytes - self.bytes
        if not self.messages or self.bytes <= 0:
            return by_count if free > 0 else 0
        fitting = max(free * self.messages // self.bytes, 1 if free > 0 else 0)
        return max(0, min(by_count, fitting))

    def share(self, partitions: int) -> Share:
        """The share of one of so many partitions: an equal one, and a tenth at least."""
        parts = min(max(1, partitions), 10)
        return Share(self._max_messages // parts, self._max_bytes // parts)

    @property
    def relieved(self) -> bool:
        """Whether so much is finished that fetching is worth resuming: half of both bounds."""
        return self.messages * 2 <= self._max_messages and self.bytes * 2 <= self._max_bytes
