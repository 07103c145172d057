"""Lanes of a partition whose messages are tried one at a time."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence

from worker.flow.lanes import LaneKey, Lanes
from worker.flow.offsets import Ranges
from worker.types import RawMessage


class GatedLanes:
    """Lanes that are let one message in at a time, in the order of offsets; implements `Lanes`.

    Wrapped around those of a partition until everything is through that may have been at work when
    its owner ended: the first `region` messages, and none that came later.
    """

    def __init__(self, lanes: Lanes, region: int) -> None:
        self.end = sys.maxsize
        """Behind the last message in doubt, as far as is known."""
        self._lanes = lanes
        self._left = region
        self._outside: deque[RawMessage] = deque()
        self._let_in: int | None = None

    def __len__(self) -> int:
        """See `Lanes`."""
        return len(self._lanes) + len(self._outside)

    @property
    def ready(self) -> int:
        """See `Lanes`."""
        return self._lanes.ready

    def wake(self, now: float) -> float:
        """See `Lanes`."""
        return self._lanes.wake(now)

    def add(self, messages: Sequence[RawMessage]) -> None:
        """See `Lanes`: they wait outside."""
        self._outside.extend(messages)
        if 0 < self._left <= len(messages):
            self.bound(messages[self._left - 1].offset() + 1)
        self._left -= len(messages)

    def bound(self, end: int) -> None:
        """Take note that no message from here on is in doubt."""
        self.end = min(self.end, end)

    def let_in(self, is_finished: Callable[[int], bool], only: int | None = None) -> int | None:
        """Let the next message in, or `only` this one; its offset until it is finished."""
        if self._let_in is not None and is_finished(self._let_in):
            self._let_in = None
        if self._let_in is None and (message := self._next(only)) is not None:
            self._outside.remove(message)
            self._lanes.add([message])
            self._let_in = message.offset()
        return self._let_in

    def open(self) -> Lanes:
        """The lanes themselves, with everything let in."""
        self._lanes.add([*self._outside])
        self._outside.clear()
        return self._lanes

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        return self._lanes.take(limit)

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`."""
        self._lanes.release(run, handled)

    def postpone(self, message: RawMessage, due: float) -> None:
        """See `Lanes`: it has been let in."""
        self._lanes.postpone(message, due)

    def defer(self, message: RawMessage) -> None:
        """See `Lanes`: it has been let in."""
        self._lanes.defer(message)

    def occupy(self, run: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        self._lanes.occupy(run)

    def vacate(self, run: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        self._lanes.vacate(run)

    def key_of(self, message: RawMessage) -> LaneKey:
        """See `Lanes`."""
        return self._lanes.key_of(message)

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`."""
        return self._lanes.ranges(messages)

    def find(self, offset: int) -> RawMessage | None:
        """See `Lanes`."""
        outside = (message for message in self._outside if message.offset() == offset)
        return self._lanes.find(offset) or next(outside, None)

    def clear(self) -> int:
        """See `Lanes`."""
        outside = len(self._outside)
        self._outside.clear()
        return self._lanes.clear() + outside

    def _next(self, only: int | None) -> RawMessage | None:
        waiting = (m for m in self._outside if only is None or m.offset() == only)
        return next(waiting, None)
