"""The order in which messages of one partition may be handled."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from worker.types import RawMessage


class Lanes:
    """The queue of one partition: one run at a time is out, the others wait in order."""

    __slots__ = ("_busy", "_queue")

    def __init__(self) -> None:
        self._queue: deque[RawMessage] = deque()
        self._busy = False

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether a run is out."""
        return self._busy

    def add(self, messages: Sequence[RawMessage]) -> None:
        """Queue messages behind those that wait."""
        self._queue.extend(messages)

    def take(self, limit: int) -> list[RawMessage]:
        """Take the next run, at most `limit` messages; empty when a run is out or none waits."""
        if self._busy or not self._queue:
            return []
        self._busy = True
        popleft = self._queue.popleft
        return [popleft() for _ in range(min(limit, len(self._queue)))]

    def release(self, rest: Sequence[RawMessage]) -> None:
        """The run is back; `rest`, which was not handled, is first in the queue again."""
        self._queue.extendleft(reversed(rest))
        self._busy = False

    def clear(self) -> int:
        """Forget the messages that wait; returns how many they were."""
        waiting = len(self._queue)
        self._queue.clear()
        return waiting
