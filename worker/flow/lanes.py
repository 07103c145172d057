"""The order in which messages of one partition may be handled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import chain, islice
from math import inf
from operator import methodcaller
from typing import Final, Protocol

from worker.flow.offsets import Ranges, ranges_of
from worker.flow.rate import LaneRates
from worker.types import RawMessage


class Lanes(Protocol):
    """The messages of a partition that wait; runs of them go out and come back."""

    @property
    def ready(self) -> int:
        """Messages that wait and may be handled now."""

    def __len__(self) -> int:
        """Messages that wait."""

    def wake(self, now: float) -> float:
        """Let lanes go on whose time has come, in seconds on a clock that only grows.

        Returns when the next of those goes on that wait for a time; infinite while none does.
        """

    def add(self, messages: Sequence[RawMessage]) -> None:
        """Queue messages behind those that wait."""

    def take(self, limit: int) -> list[RawMessage]:
        """Take the next run, at most `limit` messages; empty when none is ready."""

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """A run is back; its messages beyond the first `handled` are first in their lanes again."""

    def postpone(self, message: RawMessage, due: float) -> None:
        """A message of a run that is back, and not part of it any more, comes again at `due`.

        It is first in its lane, which waits until then.
        """

    def defer(self, message: RawMessage) -> None:
        """Such a message comes again after those of other lanes that are ready.

        It is first in its lane.
        """

    def occupy(self, run: Sequence[RawMessage]) -> None:
        """Wait with what is in the lanes of a run that an earlier assignment has given out."""

    def vacate(self, run: Sequence[RawMessage]) -> None:
        """Such a run is back."""

    def key_of(self, message: RawMessage) -> LaneKey:
        """What a message, which waits or is in a run, has in common with others of its lane.

        None where that is the partition alone, or nothing.
        """

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """The offsets that these messages of a run finish."""

    def find(self, offset: int) -> RawMessage | None:
        """The message at this offset, if it waits and is the first of its lane."""

    def clear(self) -> int:
        """Forget the messages that wait; returns how many they were."""


Sleepers = list[tuple[float, int, RawMessage]]
"""A heap of messages that wait for a time, each behind that time and its offset."""

LaneKey = bytes | str | int | None
"""What messages of one lane have in common; None for one that shares its lane with no other."""


class LaneKeys(Protocol):
    """Tells what lane a message is in."""

    def of(self, message: RawMessage) -> LaneKey:
        """The key of a message's lane: the same each time until the message is done."""

    def done(self, message: RawMessage) -> LaneKey:
        """The same for the last time."""


class ByKey:
    """Lanes by the keys of messages."""

    of = done = staticmethod(methodcaller("key"))


BY_KEY: Final[LaneKeys] = ByKey()


class OneLane:
    """One message of the partition after the other: one run at a time is out."""

    __slots__ = ("_busy", "_due", "_queue")

    def __init__(self) -> None:
        self._queue: deque[RawMessage] = deque()
        self._busy = False
        """Whether a run is out, or the lane waits for a time."""
        self._due = inf

    def __len__(self) -> int:
        """See `Lanes`."""
        return len(self._queue)

    @property
    def ready(self) -> int:
        """See `Lanes`."""
        return 0 if self._busy else len(self._queue)

    def wake(self, now: float) -> float:
        """See `Lanes`."""
        if self._due <= now:
            self._due, self._busy = inf, False
        return self._due

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

    def postpone(self, message: RawMessage, due: float) -> None:
        """See `Lanes`."""
        self._queue.appendleft(message)
        self._due, self._busy = due, True

    def defer(self, message: RawMessage) -> None:
        """See `Lanes`."""
        self._queue.appendleft(message)
        self._busy = False

    def occupy(self, run: Sequence[RawMessage]) -> None:  # noqa: ARG002
        """See `Lanes`."""
        self._busy = True

    def vacate(self, run: Sequence[RawMessage]) -> None:  # noqa: ARG002
        """See `Lanes`."""
        self._busy = False

    def key_of(self, message: RawMessage) -> LaneKey:  # noqa: ARG002
        """See `Lanes`."""
        return None

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`; they are in order, and what lies between two was finished with the fetch."""
        return ((messages[0].offset(), messages[-1].offset() + 1),) if messages else ()

    def find(self, offset: int) -> RawMessage | None:
        """See `Lanes`."""
        return _found(islice(self._queue, 1), offset)

    def clear(self) -> int:
        """See `Lanes`."""
        return _emptied(self._queue)


class KeyLanes:
    """A lane for each key: the messages of one key one after the other, keys beside each other.

    A run holds one message of a key at most. Messages without a key have lanes of their own. What
    is kept of a key goes with its last message.
    """

    __slots__ = ("_asleep", "_keys", "_lanes", "_occupied", "_ready", "_waiting")

    def __init__(self, keys: LaneKeys = BY_KEY) -> None:
        self._keys = keys
        self._lanes: dict[LaneKey, deque[RawMessage] | None] = {}
        """What waits behind a message that is ready or at work, for each key that has such a one;
        None instead of an empty queue, which takes more memory."""
        self._ready: deque[RawMessage] = deque()
        """The first messages of lanes that are not at work."""
        self._asleep: Sleepers = []
        """The first messages of lanes that wait for a time."""
        self._waiting = 0
        self._occupied: dict[int, LaneKey] = {}
        """Lanes at which messages of an earlier assignment are at work, by their offsets."""

    def __len__(self) -> int:
        """See `Lanes`."""
        return self._waiting

    @property
    def ready(self) -> int:
        """See `Lanes`."""
        return len(self._ready)

    def wake(self, now: float) -> float:
        """See `Lanes`."""
        return _wake(self._asleep, now, self._ready) if self._asleep else inf

    def add(self, messages: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        lanes, key_of, get_ready = self._lanes, self._keys.of, self._ready.append
        for message in messages:
            key = key_of(message)
            if key is None:
                key = message.offset()
            if key not in lanes:
                lanes[key] = None
                get_ready(message)
            elif (lane := lanes[key]) is not None:
                lane.append(message)
            else:
                lanes[key] = deque((message,))
        self._waiting += len(messages)

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        run = _first(self._ready, limit)
        self._waiting -= len(run)
        return run

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`."""
        if handled < len(run):
            self._ready.extendleft(reversed(run[handled:]))
            self._waiting += len(run) - handled
            run = run[:handled]
        lanes, key_of, get_ready = self._lanes, self._keys.done, self._ready.append
        for message in run:
            key = key_of(message)
            if key is None:
                key = message.offset()
            if lane := lanes[key]:
                get_ready(lane.popleft())
            else:
                del lanes[key]

    def postpone(self, message: RawMessage, due: float) -> None:
        """See `Lanes`."""
        heappush(self._asleep, (due, message.offset(), message))
        self._waiting += 1

    def defer(self, message: RawMessage) -> None:
        """See `Lanes`."""
        self._ready.append(message)
        self._waiting += 1

    def occupy(self, run: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        for message in run:
            key = self._keys.of(message)
            if key is None:
                key = message.offset()
            if key not in self._lanes:
                self._lanes[key] = None
                self._occupied[message.offset()] = key

    def vacate(self, run: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        for key in [self._occupied.pop(m.offset()) for m in run if m.offset() in self._occupied]:
            if lane := self._lanes[key]:
                self._ready.append(lane.popleft())
            else:
                del self._lanes[key]

    def key_of(self, message: RawMessage) -> LaneKey:
        """See `Lanes`."""
        return self._keys.of(message)

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`."""
        return ranges_of(message.offset() for message in messages)

    def find(self, offset: int) -> RawMessage | None:
        """See `Lanes`."""
        return _found(chain(self._ready, _sleeping(self._asleep)), offset)

    def clear(self) -> int:
        """See `Lanes`."""
        waiting, self._waiting = self._waiting, 0
        self._ready.clear()
        self._asleep.clear()
        self._lanes = dict.fromkeys(self._lanes)
        return waiting


class PacedLanes(KeyLanes):
    """Lanes by key, each no faster than a rate, which it has in all partitions together."""

    __slots__ = ("_now", "_rates")

    def __init__(self, keys: LaneKeys, rates: LaneRates) -> None:
        super().__init__(keys)
        self._rates = rates
        self._now = 0.0

    def wake(self, now: float) -> float:
        """See `Lanes`."""
        self._now = now
        return super().wake(now)

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        run: list[RawMessage] = []
        while self._ready and len(run) < limit:
            message = self._ready.popleft()
            due = self._due(self._keys.of(message))
            if due > self._now:
                heappush(self._asleep, (due, message.offset(), message))
            else:
                run.append(message)
        self._waiting -= len(run)
        return run

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`; what was not handled does not count."""
        for message in run[handled:]:
            self._rates.give_back(self._keys.of(message))
        super().release(run, handled)

    def _due(self, key: LaneKey) -> float:
        """When a message may go; it counts if that is now. One without a key goes at any time."""
        if key is None:
            return self._now
        due = self._rates.due(key, self._now)
        if due <= self._now:
            self._rates.take(key, self._now)
        return due


class NoLanes:
    """No order: every message may be handled beside every other."""

    __slots__ = ("_asleep", "_queue")

    def __init__(self) -> None:
        self._queue: deque[RawMessage] = deque()
        self._asleep: Sleepers = []

    def __len__(self) -> int:
        """See `Lanes`."""
        return len(self._queue) + len(self._asleep)

    @property
    def ready(self) -> int:
        """See `Lanes`."""
        return len(self._queue)

    def wake(self, now: float) -> float:
        """See `Lanes`."""
        return _wake(self._asleep, now, self._queue) if self._asleep else inf

    def add(self, messages: Sequence[RawMessage]) -> None:
        """See `Lanes`."""
        self._queue.extend(messages)

    def take(self, limit: int) -> list[RawMessage]:
        """See `Lanes`."""
        return _first(self._queue, limit)

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        """See `Lanes`."""
        self._queue.extendleft(reversed(run[handled:]))

    def postpone(self, message: RawMessage, due: float) -> None:
        """See `Lanes`."""
        heappush(self._asleep, (due, message.offset(), message))

    def defer(self, message: RawMessage) -> None:
        """See `Lanes`."""
        self._queue.append(message)

    def occupy(self, run: Sequence[RawMessage]) -> None:
        """See `Lanes`: nothing waits for anything."""

    def vacate(self, run: Sequence[RawMessage]) -> None:
        """See `Lanes`."""

    def key_of(self, message: RawMessage) -> LaneKey:  # noqa: ARG002
        """See `Lanes`."""
        return None

    def ranges(self, messages: Sequence[RawMessage]) -> Ranges:
        """See `Lanes`."""
        return ranges_of(message.offset() for message in messages)

    def find(self, offset: int) -> RawMessage | None:
        """See `Lanes`."""
        return _found(chain(self._queue, _sleeping(self._asleep)), offset)

    def clear(self) -> int:
        """See `Lanes`."""
        return _emptied(self._queue) + _emptied(self._asleep)


LANES: Final[Mapping[str, Callable[[], Lanes]]] = {
    "partition": OneLane,
    "key": KeyLanes,
    "none": NoLanes,
}
"""By the `ordering` of a pipeline, when it says no more of its lanes."""


def _first(queue: deque[RawMessage], limit: int) -> list[RawMessage]:
    if limit == 1:  # as under every ordering but `partition`: a third of the time
        return [queue.popleft()] if queue else []
    popleft = queue.popleft
    return [popleft() for _ in range(min(limit, len(queue)))]


def _wake(asleep: Sleepers, now: float, queue: deque[RawMessage]) -> float:
    """Put messages in front of a queue whose time has come; returns when that of the next has."""
    awake = []
    while asleep and asleep[0][0] <= now:
        awake.append(heappop(asleep)[-1])
    queue.extendleft(reversed(awake))
    return asleep[0][0] if asleep else inf


def _sleeping(asleep: Sleepers) -> Iterator[RawMessage]:
    return (message for _, _, message in asleep)


def _found(messages: Iterable[RawMessage], offset: int) -> RawMessage | None:
    return next((message for message in messages if message.offset() == offset), None)


def _emptied(queue: deque[RawMessage] | Sleepers) -> int:
    waiting = len(queue)
    queue.clear()
    return waiting
