"""How results and offsets become durable."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf

from worker.engine.chunk import Chunk
from worker.engine.outbox import Outbox
from worker.engine.partition import Partition
from worker.errors import CommitFailed
from worker.flow import envelope
from worker.flow.health import Counts
from worker.flow.offsets import Ranges
from worker.flow.timing import Laps
from worker.ports import METADATA_TOO_LARGE, Clock, Commits, Consumer, Producer
from worker.settings import CommitSettings
from worker.types import (
    ClientTotals,
    Commit,
    Failure,
)

log = logging.getLogger(__name__)

SETTLE_WAIT = 0.1
"""Seconds without an answer after which none is waited for any more."""
SETTLE_FOR = 2.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What a committer has of the runner, whatever the delivery."""

    consumer: Consumer
    clock: Clock
    counts: Counts
    laps: Laps
    on_stored: Callable[[Chunk], None]
    """Told of chunks whose records are stored: nothing of them is held in memory any more."""
    on_finished: Callable[[Chunk], None]
    """Told of chunks that are durable."""
    on_refused: Callable[[Chunk, int, Failure], bool]
    """Told of a record that no broker will ever take, as `Outbox` says."""
    careful: bool
    """Whether to know of each record what became of it: the producer sends each alone."""
    mapless: bool
    """Whether the broker takes no envelopes: it is set up to take less."""


class AtLeastOnce:
    """Records are sent at once; an offset is committable when its records are acknowledged."""

    def __init__(self, needs: Needs, producer: Producer, settings: CommitSettings) -> None:
        self._consumer = needs.consumer
        self._producer = producer
        self._settings = settings
        self._clock = needs.clock
        self._counts = needs.counts
        self._laps = needs.laps
        self._on_stored = needs.on_stored
        self._on_finished = needs.on_finished
        self.outbox = Outbox(
            producer, needs.counts, self._answered, needs.on_refused, careful=needs.careful
        )
        self._unfinished: dict[Partition, deque[Chunk]] = {}
        """Chunks in the order in which they were settled."""
        self._waiting: dict[Partition, deque[Chunk]] = {}
        """Of these, those whose records wait for fences, or behind such."""
        self._since_commit = 0
        self._commit_due = needs.clock.monotonic() + settings.interval
        self._committing = False
        self.mapless = needs.mapless

    @property
    def failure(self) -> str | None:
        """Why a record could not be delivered; then only a new committer helps."""
        return self.outbox.failure

    @property
    def passes(self) -> bool:
        """Whether a new committer need not wait: it will fare better at once."""
        return self.outbox.learnt

    def take_over(self) -> None:
        """There is nothing that only one process can have."""

    def deliver(self, chunk: Chunk) -> None:
        """Make a chunk durable; `on_finished` is told when it and those before it are."""
        self._unfinished.setdefault(chunk.partition, deque()).append(chunk)
        if chunk.fences is not None or chunk.partition in self._waiting:
            self._send_behind(chunk)
        elif chunk.number:
            self.outbox.put(chunk)
        else:
            self._finish_first(chunk.partition)

    def has(self, partition: Partition) -> bool:
        """Whether there are chunks of a partition that are not durable."""
        return partition in self._unfinished

    def serve(self, timeout: float) -> None:
        """Take acknowledgements in, for up to `timeout` seconds, and send what waits."""
        self._producer.poll(timeout)
        if self.outbox:
            self.outbox.send()

    @property
    def due(self) -> bool:
        """Whether it is time to commit, and no answer to the last one is outstanding."""
        return not self._committing and self._clock.monotonic() >= self._commit_due

    @property
    def due_in(self) -> float:
        """Seconds until a commit is due that must not be late: there is none."""
        return inf

    @property
    def offsets_due(self) -> float:
        """When offsets that can be committed are, on the monotonic clock."""
        return inf if self._committing else self._commit_due

    def commit_now(self, partitions: Collection[Partition], *, wait: bool) -> None:
        """Commit what is committable; a commit that fails is counted, its messages come again."""
        self._since_commit = 0
        self._commit_due = self._clock.monotonic() + self._settings.interval
        commits = self.uncommitted(partitions)
        if not commits:
            return
        self._committing = not wait
        try:
            with self._laps.within("commit"):
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
        if self.mapless:
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
            self.mapless |= METADATA_TOO_LARGE in error
            return
        self._counts.commits += 1
        for partition in partitions:
            if partition.source in commits:
                partition.committed = commits[partition.source]

    @property
    def can_commit(self) -> bool:
        """Whether anything can be committed: what is finished can, whatever has failed."""
        return True

    @property
    def committing(self) -> bool:
        """Whether an answer to a commit is outstanding."""
        return self._committing

    def totals(self) -> ClientTotals:
        """The producer's own statistics."""
        return self._producer.totals()

    def kept(self, partition: Partition) -> Ranges:  # noqa: ARG002
        """What stays finished above `committable` when a partition is read again: nothing.

        What came later in a lane has to come again behind what was not delivered.
        """
        return ()

    def found(self, partitions: Collection[Partition]) -> Mapping[Partition, Commit]:  # noqa: ARG002
        """Where partitions are read on that were committed without an answer: where they were."""
        return {}

    def settle(self) -> None:
        """After a failure, take in what else is answered, so that reading again once is enough."""
        deadline = self._clock.monotonic() + SETTLE_FOR
        while self._producer.poll(SETTLE_WAIT) and self._clock.monotonic() < deadline:
            pass

    def clear(self) -> bool:
        """Wait for what is on its way; whether nothing is any more."""
        deadline = self._clock.monotonic() + SETTLE_FOR
        while self._unfinished and self.failure is None and self._clock.monotonic() < deadline:
            self.serve(SETTLE_WAIT)
        return not self._unfinished

    def close(self, timeout: float) -> None:
        """Let go of the producer; what is not acknowledged after `timeout` seconds is dropped."""
        self.outbox.clear()
        self._producer.close(timeout)
        self.outbox.close()

    def _answered(self, chunk: Chunk) -> None:
        if not chunk.partition.alive:
            self._unfinished.pop(chunk.partition, None)
            self._waiting.pop(chunk.partition, None)
            return
        if chunk.partition in self._waiting:
            self._queue_fenced(chunk.partition)
        self._finish_first(chunk.partition)

    def _send_behind(self, chunk: Chunk) -> None:
        """Send the fences of a chunk, and its records when these and all in front are durable."""
        self._waiting.setdefault(chunk.partition, deque()).append(chunk)
        if chunk.fences is not None:
            self.outbox.put(chunk.fences)

    def _queue_fenced(self, partition: Partition) -> None:
        """Queue the records that have waited for fences which are durable by now, in order."""
        waiting = self._waiting[partition]
        while waiting and waiting[0].is_fenced:
            chunk = waiting.popleft()
            if chunk.number:
                self.outbox.queue(chunk)
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
            self._on_stored(chunk)
            self._on_finished(chunk)
        if self._since_commit >= self._settings.messages:
            self._commit_due = -inf
        if not chunks:
            self._unfinished.pop(partition, None)
