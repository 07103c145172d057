"""Messages whose records the brokers will never take."""

from __future__ import annotations

from worker.types import Failure, TopicPartition


class Condemned:
    """Messages that are given up when they come again, each with its failure."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[tuple[TopicPartition, int], Failure] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._failures)

    def add(self, source: TopicPartition, offset: int, failure: Failure) -> None:
        """Give a message up when it comes again; its first failure counts."""
        self._failures.setdefault((source, offset), failure)

    def failure(self, source: TopicPartition, offset: int) -> Failure | None:
        """What the message is given up for; None when it is not."""
        return self._failures.get((source, offset))

    def forget(self, source: TopicPartition, start: int, end: int) -> None:
        """Forget the messages from `start` up to but not including `end`: they are finished."""
        for place in list(self._failures):
            if place[0] == source and start <= place[1] < end:
                del self._failures[place]
