"""What is to become durable together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.engine.partition import Partition
from worker.flow.offsets import Ranges
from worker.ports import Sends
from worker.types import DeadLetter, Done, Encoded, RawMessage, RetryLater, Settled

Elsewhere = tuple[RawMessage, RetryLater | DeadLetter]
"""A message whose record is no result, and what becomes of it."""


@dataclass(slots=True)
class Chunk:
    """Settled messages of a partition, finished when their records are durable."""

    partition: Partition
    ranges: Ranges
    """The offsets of the messages."""
    messages: int
    size: int
    """Bytes of the messages."""
    records: Sequence[Encoded]
    """Let go of when all are in the producer's hands: by then they are only memory."""
    taken: Sequence[RawMessage] = ()
    """The messages, each with its outcome in `outcomes`; kept while records are told apart."""
    outcomes: Sequence[Settled] = ()
    elsewhere: Sequence[Elsewhere] = ()
    """Its messages that go to other topics, which is told when it is durable; what else there is
    are results."""
    fences: Chunk | None = None
    """Records that have to be durable before those of this chunk are sent."""
    sends: Sends | None = None
    """Those of its records that are followed."""
    written: float = 0.0
    """When its first message was, in seconds since 1970; not known where 0 or less."""
    number: int = field(init=False)
    """Records in all."""
    sent: int = field(init=False, default=0)
    """How many of them are in the producer's hands."""
    unacknowledged: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the records."""
        self.number = self.unacknowledged = len(self.records)

    def fence(self, records: Sequence[Encoded]) -> None:
        """Have these be durable before its own records are sent."""
        if records:
            self.fences = Chunk(self.partition, (), 0, 0, records)

    @property
    def is_fenced(self) -> bool:
        """Whether its own records may be sent."""
        return self.fences is None or not self.fences.unacknowledged

    @property
    def is_durable(self) -> bool:
        """Whether all its records are acknowledged."""
        return not self.unacknowledged and self.is_fenced

    def message_of(self, place: int) -> RawMessage | None:
        """The message that a record is of and that can be given up; of a dead letter it cannot."""
        for message, outcome in zip(self.taken, self.outcomes, strict=False):
            match outcome:
                case Encoded():
                    if not place:
                        return message
                    place -= 1
                case Done():
                    if place < len(outcome.records):
                        return message
                    place -= len(outcome.records)
                case RetryLater():
                    if not place:
                        return message if outcome.failure is not None else None
                    place -= 1
                case DeadLetter():
                    if not place:
                        return None
                    place -= 1
        return None
