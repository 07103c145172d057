"""How results and offsets become durable."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from worker.engine.partition import Partition
from worker.errors import ClientError, CommitFailed, QueueFull
from worker.flow import envelope
from worker.flow.fence import Lane
from worker.flow.health import Counts
from worker.flow.offsets import Ranges
from worker.ports import METADATA_TOO_LARGE, Clock, Commits, Consumer, Producer
from worker.settings import CommitSettings
from worker.types import (
    ClientTotals,
    Commit,
    DeadLetter,
    Done,
    Encoded,
    Failure,
    RawMessage,
    RetryLater,
    Settled,
)

log = logging.getLogger(__name__)

SETTLE_WAIT = 0.1
"""Seconds without an answer after which none is waited for any more."""
SETTLE_FOR = 2.0


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
    dead_letters: Counter[str] = field(default_factory=Counter)
    """How many of the records are dead letters, by reason."""
    taken: Sequence[RawMessage] = ()
    """The messages, each with its outcome in `outcomes`; kept while records are told apart."""
    outcomes: Sequence[Settled] = ()
    moved: Sequence[Lane | None] = ()
    """The lanes of messages whose records go to retry topics; what else there is are results."""
    fences: Chunk | None = None
    """Records that have to be durable before those of this chunk are sent."""
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


class AtLeastOnce:
    """Records are sent at once; an offset is committable when its records are acknowledged."""

    def __init__(
        self,
        consumer: Consumer,
        producer: Producer,
        settings: CommitSettings,
        clock: Clock,
        counts: Counts,
        on_finished: Callable[[Chunk], None],
        on_refused: Callable[[Chunk, int, Failure], bool],
        *,
        careful: bool = False,
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._settings = settings
        self._clock = clock
        self._counts = counts
        self._on_finished = on_finished
        self._on_refused = on_refused
        self.careful = careful
        """Whether to know the place of each record in its chunk, which takes longer.

        Delivery reports hold too little to tell two records apart that differ in headers or time.
        """
        self._outbox: deque[Chunk] = deque()
        self._unfinished: dict[Partition, deque[Chunk]] = {}
        """Chunks in the order in which they were settled."""
        self._waiting: dict[Partition, deque[Chunk]] = {}
        """Of these, those whose records wait for fences, or behind such."""
        self._since_commit = 0
        self._commit_due = clock.monotonic() + settings.interval
        self._committing = False
        self._mapless = False
        """Whether the broker takes no envelopes: it is set up to take less."""
        self.failure: str | None = None
        """Why a record could not be delivered; then only a new committer helps."""
        self.learnt = False
        """Whether something is known of the failure with which trying again gets further."""

    @property
    def stuck(self) -> bool:
        """Whether records wait for room in the producer's queue."""
        return bool(self._outbox)

    def deliver(self, chunk: Chunk) -> None:
        """Make a chunk durable; `on_finished` is told when it and those before it are."""
        self._unfinished.setdefault(chunk.partition, deque()).append(chunk)
        if chunk.fences is not None or chunk.partition in self._waiting:
            self._send_behind(chunk)
        elif chunk.number:
            self._outbox.append(chunk)
            self._send()
        else:
            self._finish_first(chunk.partition)

    def has(self, partition: Partition) -> bool:
        """Whether there are chunks of a partition that are not durable."""
        return partition in self._unfinished

    def serve(self, timeout: float) -> None:
        """Take acknowledgements in, for up to `timeout` seconds, and send what waits."""
        self._producer.poll(timeout)
        if self._outbox:
            self._send()

    @property
    def due(self) -> bool:
        """Whether it is time to commit, and no answer to the last one is outstanding."""
        if self._committing:
            return False
        enough = self._since_commit >= self._settings.messages
        return enough or self._clock.monotonic() >= self._commit_due

    def commit_now(self, partitions: Collection[Partition], *, wait: bool) -> None:
        """Commit what is committable; a commit that fails is counted, its messages come again."""
        self._since_commit = 0
        self._commit_due = self._clock.monotonic() + self._settings.interval
        commits = self.uncommitted(partitions)
        if not commits:
            return
        self._committing = not wait
        try:
            self._consumer.commit(commits, wait=wait)
        except CommitFailed as error:
            self.committed(partitions, commits, str(error))
        else:
            if wait:
                self.committed(partitions, commits, None)

    def uncommitted(self, partitions: Collection[Partition]) -> Commits:
        """What there is to commit."""
        return {
            p.source: commit
            for p in partitions
            if p.alive and (commit := self._commit_of(p)) != p.committed
        }

    def _commit_of(self, partition: Partition) -> Commit:
        """The map is left out after a failure: what comes later in a lane has to come again, too.

        Otherwise the result of an earlier message would be the last one.
        """
        tracker = partition.tracker
        if self._mapless:
            return Commit(tracker.committable)
        finished = () if self.failure is not None else tracker.ranges()
        metadata = envelope.encode(tracker.committable, finished, partition.note)
        return Commit(tracker.committable, metadata)

    def committed(
        self, partitions: Collection[Partition], commits: Commits, error: str | None
    ) -> None:
        """Take note of how a commit has ended."""
        self._committing = False
        if error is not None:
            self._counts.commit_failures += 1
            log.warning("offsets were not committed, their messages may come again: %s", error)
            self._mapless |= METADATA_TOO_LARGE in error
            return
        self._counts.commits += 1
        for partition in partitions:
            if partition.source in commits:
                partition.committed = commits[partition.source]

    @property
    def committing(self) -> bool:
        """Whether an answer to a commit is outstanding."""
        return self._committing

    def totals(self) -> ClientTotals:
        """The producer's own statistics."""
        return self._producer.totals()

    def settle(self) -> None:
        """After a failure, take in what else is answered, so that reading again once is enough."""
        deadline = self._clock.monotonic() + SETTLE_FOR
        while self._producer.poll(SETTLE_WAIT) and self._clock.monotonic() < deadline:
            pass

    def close(self, timeout: float) -> None:
        """Let go of the producer; what is not acknowledged after `timeout` seconds is dropped."""
        self._outbox.clear()
        self._producer.close(timeout)

    def _send(self) -> None:
        while self._outbox and self.failure is None:
            chunk = self._outbox[0]
            if not chunk.partition.alive:
                self._forget(chunk.partition)
            elif not self._send_chunk(chunk):
                return
            self._outbox.popleft()

    def _send_chunk(self, chunk: Chunk) -> bool:
        stored = partial(self._stored, chunk)
        try:
            while chunk.sent < chunk.number:
                last, place = (chunk.sent + 1, chunk.sent) if self.careful else (None, None)
                failed = partial(self._failed, chunk, place)
                records = chunk.records[chunk.sent : last]
                chunk.sent += self._producer.send(records, stored, failed)
        except QueueFull:
            return False
        except ClientError as error:
            self._fail(error, chunk, chunk.sent)
            return False
        chunk.records = ()
        return True

    def _stored(self, chunk: Chunk, records: int) -> None:
        chunk.unacknowledged -= records
        if not chunk.partition.alive:
            self._forget(chunk.partition)
        elif not chunk.unacknowledged:
            if chunk.partition in self._waiting:
                self._queue_fenced(chunk.partition)
            self._finish_first(chunk.partition)

    def _failed(self, chunk: Chunk, place: int | None, error: object) -> None:
        if not chunk.partition.alive:
            self._forget(chunk.partition)
        else:
            self._fail(error, chunk, place)

    def _forget(self, partition: Partition) -> None:
        self._unfinished.pop(partition, None)
        self._waiting.pop(partition, None)

    def _send_behind(self, chunk: Chunk) -> None:
        """Send the fences of a chunk, and its records when these and all in front are durable."""
        self._waiting.setdefault(chunk.partition, deque()).append(chunk)
        if chunk.fences is not None:
            self._outbox.append(chunk.fences)
            self._send()

    def _queue_fenced(self, partition: Partition) -> None:
        """Queue the records that have waited for fences which are durable by now, in order."""
        waiting = self._waiting[partition]
        while waiting and waiting[0].is_fenced:
            chunk = waiting.popleft()
            if chunk.number:
                self._outbox.append(chunk)
        if not waiting:
            del self._waiting[partition]

    def _finish_first(self, partition: Partition) -> None:
        """Finish the chunks of a partition that are durable, up to the first that is not.

        Brokers acknowledge in any order. If a later message of a lane was committed as finished,
        and an earlier one was not, the result of that would be the last after a crash.
        """
        chunks = self._unfinished.get(partition, deque())
        while chunks and chunks[0].is_durable:
            chunk = chunks.popleft()
            self._since_commit += chunk.messages
            self._on_finished(chunk)
        if not chunks:
            self._unfinished.pop(partition, None)

    def _fail(self, error: object, chunk: Chunk, place: int | None) -> None:
        self._counts.delivery_failures += 1
        if self.failure is None:
            self.failure = str(error)
        refusal = self._producer.refusal(error)
        if refusal is None:
            return
        if not self.careful:
            self.learnt = True
        elif place is not None:
            self.learnt |= self._on_refused(chunk, place, refusal)
