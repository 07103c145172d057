"""When a pipeline whose records were not delivered tries again, and when that is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.flow.backoff import backoff
from worker.types import TopicPartition


class Recovery:
    """Waits longer after each failure in a row, and knows how far it has to come once more."""

    __slots__ = ("_failures", "positions", "resume_at", "why")

    def __init__(self) -> None:
        self.why: str | None = None
        """Why records cannot be delivered, until one is."""
        self.resume_at: float | None = None
        """When it is tried again, on the monotonic clock; None while nothing is waited for."""
        self.positions: Final[dict[TopicPartition, int]] = {}
        """Where partitions were before they were read again, until all are there again."""
        self._failures = 0

    def failed(self, why: str, now: float) -> None:
        """Wait, and then try again."""
        self.why = why
        self._failures += 1
        self.resume_at = now + backoff(self._failures)

    def go_on(self) -> None:
        """Wait no more; whether it goes well is not known yet."""
        self.resume_at = None

    def succeeded(self) -> None:
        """Records are delivered: the next failure is the first."""
        self.why = None
        self._failures = 0

    def read_again(self, source: TopicPartition, position: int) -> None:
        """A partition was there before; of several times the furthest counts."""
        self.positions[source] = max(self.positions.get(source, 0), position)

    def forget(self, source: TopicPartition) -> None:
        """A partition has not to come anywhere any more."""
        self.positions.pop(source, None)

    def is_through(self, committable: Mapping[TopicPartition, int]) -> bool:
        """Whether all partitions are where they were; then that is forgotten."""
        if any(at < self.positions.get(source, 0) for source, at in committable.items()):
            return False
        self.positions.clear()
        return True
