"""One assigned partition, and the runs that go out from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from worker.flow.lanes import Lanes
from worker.flow.offsets import OffsetTracker, Ranges
from worker.types import Fetch, Outcome, RawMessage, Stop, TopicPartition


class Partition:
    """The state of one assignment of a partition; dead once revoked, lost or rewound.

    What comes back for a dead one is dropped: its identity is the fence.
    """

    __slots__ = (
        "_fetched",
        "alive",
        "closing",
        "committed",
        "in_flight",
        "lanes",
        "paused",
        "size",
        "source",
        "tracker",
    )

    def __init__(
        self, source: TopicPartition, start: int, committed: int | None, lanes: Lanes
    ) -> None:
        self.source = source
        self.tracker = OffsetTracker(start)
        self.lanes = lanes
        self.committed = committed
        self.alive = True
        self.closing = False
        """No further message is handed to a handler; runs that are out stop at the next message."""
        self.paused = False
        self.in_flight = 0
        """Messages between poll and acknowledgement."""
        self.size = 0
        """Bytes of the fetches that are not wholly finished."""
        self._fetched: deque[tuple[int, int]] = deque()

    @property
    def uncommitted(self) -> bool:
        """Whether there is something to commit."""
        return self.tracker.committable != self.committed

    def take(self, fetch: Fetch) -> None:
        """Queue the messages of a poll."""
        messages = fetch.messages
        first, last = messages[0].offset(), messages[-1].offset()
        self.tracker.take(first, last)
        if last - first + 1 != len(messages):
            self._note_gaps(messages)
        self.lanes.add(messages)
        self.in_flight += len(messages)
        self.size += fetch.size
        self._fetched.append((last, fetch.size))

    def _note_gaps(self, messages: Sequence[RawMessage]) -> None:
        """Note offsets that were jumped over, since no message finishes them."""
        for before, after in pairwise(message.offset() for message in messages):
            if after > before + 1:
                self.tracker.finish(before + 1, after)

    def finish(self, ranges: Ranges, messages: int) -> int:
        """Note offsets as finished; returns the bytes that this sets free."""
        self.in_flight -= messages
        for start, end in ranges:
            self.tracker.finish(start, end)
        freed = 0
        while self._fetched and self._fetched[0][0] < self.tracker.committable:
            freed += self._fetched.popleft()[1]
        self.size -= freed
        return freed

    def close(self) -> int:
        """Hand no further message out; returns how many waiting ones are forgotten."""
        self.closing = True
        return self.forget(self.lanes.clear())

    def forget(self, messages: int) -> int:
        """Take messages that will not be handled here off the count."""
        self.in_flight -= messages
        return messages


@dataclass(slots=True)
class Run:
    """Messages that go to a handler together, one after the other."""

    partition: Partition
    messages: list[RawMessage]


@dataclass(slots=True)
class Finished:
    """A run that has come back; messages beyond the outcomes were not handled."""

    run: Run
    outcomes: Sequence[Outcome]
    error: BaseException | None = None
    """A defect of the engine itself; errors of handlers are outcomes."""
    seconds: float = 0.0
    """How long it took."""


def together(finished: Sequence[Finished]) -> Sequence[Finished]:
    """Runs that came back whole, those of a partition as one: settled together they cost less.

    One that stops the pipeline comes after them, so that what they resulted in is sent.
    """
    if len(finished) < 2:
        return finished
    whole: dict[int, list[Finished]] = {}
    others: list[Finished] = []
    for one in finished:
        stops = any(isinstance(outcome, Stop) for outcome in one.outcomes)
        if one.error is None and not stops and len(one.outcomes) == len(one.run.messages):
            whole.setdefault(id(one.run.partition), []).append(one)
        else:
            others.append(one)
    return [*map(_joined, whole.values()), *others]


def _joined(finished: Sequence[Finished]) -> Finished:
    if len(finished) == 1:
        return finished[0]
    run = Run(finished[0].run.partition, [m for one in finished for m in one.run.messages])
    return Finished(run, [outcome for one in finished for outcome in one.outcomes])
