"""One assigned partition, and the runs that go out from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from math import inf
from typing import Any, Final, NamedTuple

from worker.flow import envelope, later
from worker.flow.age import Ages
from worker.flow.attempts import Attempts
from worker.flow.crashes import Note
from worker.flow.fence import Fences, Lane, lane_of
from worker.flow.flood import Flood
from worker.flow.lanes import Lanes
from worker.flow.offsets import OffsetTracker, Ranges
from worker.flow.pressure import Share
from worker.types import (
    Commit,
    Failed,
    Fetch,
    Headers,
    Outcome,
    RawMessage,
    TopicPartition,
    bytes_of,
)

NOTHING: Final = Note()
POLL_LIMIT: Final = 500
"""Messages taken in one poll, and the longest run."""


class AtHand(NamedTuple):
    """Which message of a run a handler is at, the first one of a batch."""

    place: int
    since: float
    """When it has begun with it, or with its run, on the monotonic clock."""


class Partition:
    """The state of one assignment of a partition; dead once revoked, lost or rewound.

    What comes back for a dead one is dropped: its identity is the fence.
    """

    __slots__ = (
        "ages",
        "alive",
        "attempts",
        "closing",
        "committed",
        "due",
        "fences",
        "flood",
        "held",
        "in_flight",
        "lanes",
        "latest",
        "note",
        "paused",
        "read_since",
        "runs",
        "size",
        "source",
        "tier",
        "tracker",
    )

    def __init__(
        self,
        source: TopicPartition,
        start: int,
        committed: Commit | None,
        lanes: Lanes,
        finished: Ranges = (),
        note: Note = NOTHING,
    ) -> None:
        self.source = source
        self.tracker = OffsetTracker(start, finished)
        self.lanes = lanes
        self.committed = committed
        self.attempts = Attempts()
        self.ages = Ages()
        self.flood: Flood | None = None
        """Where there is a limit, what has failed."""
        self.tier: int | None = None
        """Of a retry topic, its place among those of the pipeline."""
        self.due = -inf
        """When the next message of a retry topic is due, on the monotonic clock."""
        self.fences: Fences | None = None
        """Lanes whose messages go to a retry topic; None where none has to."""
        self.note = note
        """What the next commit says of its owner, this one, and of crashes."""
        self.alive = True
        self.closing = False
        """No further message is handed to a handler; runs that are out stop at the next message."""
        self.paused = False
        """Whether the consumer was told not to fetch from it."""
        self.read_since = -inf
        """When that was last taken back, on the monotonic clock."""
        self.held = False
        """Whether it holds so much by itself that no more is taken from it."""
        self.in_flight = 0
        """Messages between poll and acknowledgement."""
        self.size = 0
        """Bytes of these."""
        self.latest: RawMessage | None = None
        """The last message of the last fetch."""
        self.runs: set[Run] = set()
        """Those that are out."""

    @property
    def passed(self) -> int:
        """How many retry topics its messages have been in; those left out on the way count, too."""
        return 0 if self.tier is None else self.tier + 1

    @property
    def is_flooded(self) -> bool:
        """Whether its messages go one at a time, since too many fail."""
        return self.flood is not None and self.flood.is_flooded

    def may_go(self, now: float) -> bool:
        """Whether its messages may go to handlers; while it is flooded, one at a time."""
        if self.flood is None or not self.flood.is_flooded:
            return True
        return not self.runs and self.flood.may_probe(now)

    def lane_of(self, message: RawMessage) -> Lane | None:
        """The lane of a message that waits or is in a run, as fences name it."""
        if self.tier is None:
            return lane_of(self.source, self.lanes.key_of(message))
        return later.lane_of(message)

    def take(self, fetch: Fetch) -> Fetch:
        """Queue the messages of a poll that are neither taken nor finished; returns these.

        The client may give again what it has given, as what it had fetched before a seek.
        """
        messages = fetch.messages
        first, last = messages[0].offset(), messages[-1].offset()
        if first < self.tracker.position or last - first + 1 != len(messages):
            fetch = self._untaken(fetch)
            messages = fetch.messages
            if not messages:
                return fetch
            first, last = messages[0].offset(), messages[-1].offset()
        self.latest = messages[-1]
        self.tracker.take(first, last)
        if last - first + 1 != len(messages):
            self._note_gaps(messages)
        if first < self.tracker.known:
            fetch = self._unfinished(fetch)
        self.lanes.add(fetch.messages)
        self.in_flight += len(fetch.messages)
        self.size += fetch.size
        return fetch

    def first_unfinished(self) -> RawMessage | None:
        """The message at `committable`, if it waits or is in a run that is out."""
        offset = self.tracker.committable
        out = (m for run in self.runs for m in run.messages if m.offset() == offset)
        return next(out, None) or self.lanes.find(offset)

    def at_hand(self) -> tuple[int, float] | None:
        """Where a handler is in the run that has the first unfinished message, and since when.

        That message itself, or, where it has been handled, a later one that its run waits for.
        """
        first = self.tracker.committable
        for run in self.runs:
            at_hand = run.at_hand()
            if at_hand is not None and any(m.offset() == first for m in run.messages):
                place, since = at_hand
                return run.messages[place].offset() if place else first, since
        return None

    def written(self, message: RawMessage) -> float:
        """When a message was written where it was read first, in seconds since 1970.

        0 or less where that is not known.
        """
        time = message.timestamp()[1] if self.tier is None else later.written(message)
        return self.ages.no_later(message.offset(), time / 1000)

    def _untaken(self, fetch: Fetch) -> Fetch:
        """Without what lies in front of where it is read on, or of a message before it."""
        position, messages = self.tracker.position, []
        for message in fetch.messages:
            if message.offset() >= position:
                position = message.offset() + 1
                messages.append(message)
        return Fetch(fetch.source, messages, bytes_of(messages))

    def _unfinished(self, fetch: Fetch) -> Fetch:
        """Without what an earlier owner of the partition has finished."""
        is_finished = self.tracker.is_finished
        messages = [m for m in fetch.messages if not is_finished(m.offset())]
        return Fetch(fetch.source, messages, bytes_of(messages))

    def hold(self, share: Share) -> None:
        """Take no more from it while it has more than its share, until it is down to half.

        Nor while the map of what is finished above `committable` could grow too long to be written.
        """
        times = 2 if self.held else 1
        waiting = len(self.lanes)
        size = self.size * waiting // self.in_flight if waiting else 0
        span = self.tracker.position - self.tracker.committable
        self.held = not (
            waiting * times <= share.messages
            and size * times <= share.bytes
            and envelope.fits(span + POLL_LIMIT, self.in_flight * times + POLL_LIMIT)
        )

    def _note_gaps(self, messages: Sequence[RawMessage]) -> None:
        """Note offsets that were jumped over, since no message finishes them."""
        for before, after in pairwise(message.offset() for message in messages):
            if after > before + 1:
                self.tracker.finish(before + 1, after)

    def let_go(self, messages: int, size: int) -> None:
        """Count so many messages, of `size` bytes in all, as no longer in flight."""
        self.in_flight -= messages
        self.size -= size

    def finish(self, ranges: Ranges) -> None:
        """Note offsets as finished."""
        for start, end in ranges:
            self.tracker.finish(start, end)
        if self.attempts:
            self.attempts.forget(ranges)

    def close(self) -> int:
        """Hand no further message out; returns how many waiting ones are forgotten."""
        self.closing = True
        return self.forget(self.lanes.clear())

    def forget(self, messages: int) -> int:
        """Take messages that will not be handled here off the count."""
        self.in_flight -= messages
        return messages


@dataclass(slots=True, eq=False)
class Run:
    """Messages that go to a handler together, one after the other."""

    partition: Partition
    messages: list[RawMessage]
    begun: float | None = None
    """When a handler has begun with it, on the monotonic clock."""
    found: list[Any] = field(default_factory=list)
    """What its first messages resulted in; while it is out, the handler is at the next one.

    Of a batch there is none before it is over: the handler is at the first.
    """
    contexts: dict[int, Headers] | None = None
    """By offsets, the headers by which records that come of its messages are followed."""
    decoding: float | None = None
    """Seconds that decoding took of it, where that was measured."""
    look: Callable[[], AtHand | None] | None = None
    """Looks where the process is that has it; None where none has."""

    def at_hand(self) -> AtHand | None:
        """Where its handler is; None while it has none, or has handled all."""
        look = self.look  # which the thread that waits for the process may take away
        if look is not None:
            return look()
        handled = len(self.found)
        if self.begun is None or handled == len(self.messages):
            return None
        return AtHand(handled, self.begun)

    def waiting(self, *, in_batches: bool) -> int:
        """How many of its messages no handler has come to yet; a batch is handled as one."""
        at_hand = self.at_hand()
        if at_hand is None:
            return len(self.messages) - len(self.found)
        return 0 if in_batches else len(self.messages) - at_hand.place - 1


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

    Those with failures come after them, since one may stop the pipeline: so what the others
    resulted in is sent.
    """
    if len(finished) < 2:
        return finished
    whole: dict[int, list[Finished]] = {}
    others: list[Finished] = []
    for one in finished:
        fails = any(isinstance(outcome, Failed) for outcome in one.outcomes)
        if one.error is None and not fails and len(one.outcomes) == len(one.run.messages):
            whole.setdefault(id(one.run.partition), []).append(one)
        else:
            others.append(one)
    return [*map(_joined, whole.values()), *others]


def _joined(finished: Sequence[Finished]) -> Finished:
    if len(finished) == 1:
        return finished[0]
    run = Run(finished[0].run.partition, [m for one in finished for m in one.run.messages])
    contexts = [one.run.contexts for one in finished if one.run.contexts]
    if contexts:
        run.contexts = dict(chain.from_iterable(one.items() for one in contexts))
    return Finished(run, [outcome for one in finished for outcome in one.outcomes])
