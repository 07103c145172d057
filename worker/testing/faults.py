"""Faults at a place of the story: with which record something goes wrong, and how often."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from worker.flow.later import history_of
from worker.testing.matching import ANYTHING, equals, holds
from worker.testing.memory.producer import as_bytes
from worker.types import Encoded, Message

ALWAYS: Final = sys.maxsize
"""So often that it never ends."""

Moment = Literal["before", "handled", "sent"]
"""When something happens: as the handler is about to be given the record, when it has handled it
and nothing has come of that yet, or when its results are sent and its offset is not committed."""

What = TypeVar("What")


@dataclass(frozen=True, slots=True)
class At:
    """Which records are meant; what is not said may be anything.

    A message is meant by where it was read first, so in retry topics it is still the same.
    """

    topic: str | None = None
    key: bytes | str | None = None
    value: Any = ANYTHING
    """What the payload has in it, as `matching.holds` says."""
    whole: Any = ANYTHING
    """The payload."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Those that it has among others."""
    partition: int | None = None
    offset: int | None = None

    def holds(self, message: Message) -> bool:
        """Whether a message is meant."""
        origin = history_of(message)
        return (
            self.topic in (None, origin.topic)
            and self.holds_content(message.key, message.value, message.headers)
            and self.partition in (None, origin.partition)
            and self.offset in (None, origin.offset)
        )

    def holds_for(self, record: Encoded) -> bool:
        """Whether a record is meant that is to be written, which has no offset yet."""
        return (
            self.topic in (None, record.topic)
            and self.holds_content(record.key, record.value, as_bytes(record.headers))
            and self.partition in (None, record.partition)
            and self.offset is None
        )

    def holds_content(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> bool:
        """Whether a record with these is meant, wherever it is."""
        wanted = self.key.encode() if isinstance(self.key, str) else self.key
        return (
            wanted in (None, key)
            and (self.value is ANYTHING or holds(self.value, value))
            and (self.whole is ANYTHING or equals(self.whole, value))
            and {*as_bytes([*self.headers.items()])} <= {*headers}
        )


@dataclass(slots=True)
class Fault(Generic[What]):
    """Something that goes wrong a number of times."""

    what: What
    at: At
    times: int
    happened: int = 0
    """How often it has gone wrong."""

    @property
    def is_left(self) -> bool:
        """Whether it is still to go wrong."""
        return self.happened < self.times


class Faults(Generic[What]):
    """Those of one kind, in the order in which they were told."""

    def __init__(self) -> None:
        self._faults: list[Fault[What]] = []

    def add(self, what: What, at: At, times: int) -> Fault[What]:
        """Let something go wrong so many times from now on."""
        fault = Fault(what, at, times)
        self._faults.append(fault)
        return fault

    def strike(self, messages: Sequence[Message]) -> Iterable[tuple[What, Message]]:
        """What goes wrong now that these are at hand, each with the first of them that is meant."""
        return self._struck(messages) if self._faults else ()

    def _struck(self, messages: Sequence[Message]) -> Iterator[tuple[What, Message]]:
        for fault in self._faults:
            meant = next(filter(fault.at.holds, messages), None)
            if fault.is_left and meant is not None:
                fault.happened += 1
                yield fault.what, meant

    def strike_record(self, record: Encoded) -> What | None:
        """What goes wrong with a record that is written, the first of it."""
        for fault in self._faults:
            if fault.is_left and fault.at.holds_for(record):
                fault.happened += 1
                return fault.what
        return None
