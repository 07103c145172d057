"""The order in which messages of one partition may be handled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from worker.flow.offsets import Ranges, ranges_of
from worker.types import RawMessage


class Lanes(Protocol):
    """The messages of a partition that wait; runs of them go out and come back."""

    @property
    def ready(self) -> int:
        """Messages that wait and may be handled now."""

    def __len__(self) -> int:
        """Messages that wait."""

    def add(self, messages: Sequence[RawMessage]) -> None:
        """Queue messages behind those that wait."""

    def take(self, limit: int) -> list[RawMessage]:
        """Take the next run, at most `limit` messages; empty when none is ready."""

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """A run is back; its messages beyond the first `handled` are first in their lanes again."""

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """The offsets that these messages, the first ones of a run, finish."""

    def clear(self) -> int:
        """Forget the messages that wait; returns how many they were."""


class OneLane:
    """One message of the partition after the other: one run at a time is out."""

    __slots__ = ("_busy", "_queue")

    def __init__(self) -> None:
        self._queue: deque[RawMessage] = deque()
        self._busy = False

    def __len__(self) -> int:
        """See `Lanes`."""
        return len(self._queue)

    @property
    def ready(self) -> int:
        """See `Lanes`."""
        return 0 if self._busy else len(self._queue)

    def add(self, messages: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        self._queue.extend(messages)

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        if self._busy or not self._queue:
            return []
        self._busy = True
        return _first(self._queue, limit)

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`."""
        self._queue.extendleft(reversed(run[handled:]))
        self._busy = False

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`; they are in order, and what lies between two was finished with the fetch."""
        return ((messages[0].offset(), messages[-1].offset() + 1),) if messages else ()

    def clear(self) -> int:
        """See `Lanes`."""
        return _emptied(self._queue)


class KeyLanes:
    """A lane for each key: the messages of one key one after the other, keys beside each other.

    A run may hold messages of many keys, which are all busy until it is back. Messages without a
    key have lanes of their own. What is kept of a key goes with its last message.
    """

    __slots__ = ("_lanes", "_ready", "_waiting")

    def __init__(self) -> None:
        self._lanes: dict[bytes | int, list[RawMessage]] = {}
        """The waiting messages of every key that has some or is busy."""
        self._ready: deque[bytes | int] = deque()
        """Keys that have waiting messages and are not busy, each once."""
        self._waiting = 0

    def __len__(self) -> int:
        """See `Lanes`."""
        return self._waiting

    @property
    def ready(self) -> int:
        """See `Lanes`; a message of each key, although there may be more."""
        return len(self._ready)

    def add(self, messages: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        lanes, ready = self._lanes, self._ready
        for message in messages:
            key = _key(message)
            lane = lanes.get(key)
            if lane is None:
                lanes[key] = [message]
                ready.append(key)
            else:
                lane.append(message)
        self._waiting += len(messages)

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        run: list[RawMessage] = []
        while self._ready and len(run) < limit:
            lane = self._lanes[self._ready.popleft()]
            room = limit - len(run)
            run += lane[:room]
            del lane[:room]
        self._waiting -= len(run)
        return run

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`."""
        lanes = self._lanes
        for message in reversed(run[handled:]):
            lanes[_key(message)].insert(0, message)
        self._waiting += len(run) - handled
        for key in {*map(_key, run)}:
            if lanes[key]:
                self._ready.append(key)
            else:
                del lanes[key]

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`."""
        return ranges_of(message.offset() for message in messages)

    def clear(self) -> int:
        """See `Lanes`."""
        waiting, self._waiting = self._waiting, 0
        self._ready.clear()
        for lane in self._lanes.values():
            lane.clear()
        return waiting


class NoLanes:
    """No order: every message may be handled beside every other."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: deque[RawMessage] = deque()

    def __len__(self) -> int:
        """See `Lanes`."""
        return len(self._queue)

    @property
    def ready(self) -> int:
        """See `Lanes`."""
        return len(self._queue)

    def add(self, messages: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        self._queue.extend(messages)

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        return _first(self._queue, limit)

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`."""
        self._queue.extendleft(reversed(run[handled:]))

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`."""
        return ranges_of(message.offset() for message in messages)

    def clear(self) -> int:
        """See `Lanes`."""
        return _emptied(self._queue)


LANES: Final[Mapping[str, Callable[[], Lanes]]] = {
    "partition": OneLane,
    "key": KeyLanes,
    "none": NoLanes,
}
"""By the `ordering` of a pipeline."""


def _key(message: RawMessage) -> bytes | int:
    """What messages of one lane have in common; the offset, which no other has, without a key."""
    key = message.key()
    return message.offset() if key is None else key


def _first(queue: deque[RawMessage], limit: int) -> list[RawMessage]:
    popleft = queue.popleft
    return [popleft() for _ in range(min(limit, len(queue)))]


def _emptied(queue: deque[RawMessage]) -> int:
    waiting = len(queue)
    queue.clear()
    return waiting
