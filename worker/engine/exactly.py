"""Results, dead letters, retry records and offsets in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import chain
from math import inf
from typing import Final

from worker.engine.chunk import Chunk
from worker.engine.commit import Needs
from worker.engine.outbox import Outbox
from worker.engine.partition import Partition
from worker.errors import ClientError
from worker.flow import crashes, envelope
from worker.flow.crashes import Note
from worker.flow.offsets import OffsetTracker, Ranges
from worker.ports import METADATA_TOO_LARGE, Commits, Transactional
from worker.settings import TransactionSettings
from worker.types import ClientTotals, Commit

MARGIN: Final = 5.0
"""Seconds beyond the time-out of a transaction for which its end is waited for."""
IDLE_COMMIT: Final = 1.0
"""Seconds between two commits of offsets that belong to no transaction."""
QUEUE_WAIT: Final = 0.05
"""Seconds to wait at a time for room in the producer's queue."""

MOVED_ON: Final = frozenset(
    {
        "ILLEGAL_GENERATION",
        "UNKNOWN_MEMBER_ID",
        "REBALANCE_IN_PROGRESS",
        "STALE_MEMBER_EPOCH",
        METADATA_TOO_LARGE,
    }
)
"""Errors of a commit after which there is nothing to wait for: the next one has another outcome."""


class ExactlyOnce:
    """Records are sent in a transaction that commits their messages' offsets, or nothing.

    A chunk is finished when its transaction is committed. What is finished above `committable`
    goes with it, too: the map says so. Where the broker takes no map, a chunk waits for those
    before it, and for all that lies below what the last map says. After a failure everything is
    read again from what is committed, with a new producer.
    """

    def __init__(
        self, needs: Needs, producer: Transactional, settings: TransactionSettings
    ) -> None:
        self.mapless = needs.mapless
        self.outbox = Outbox(
            producer, needs.counts, self._answered, needs.on_refused, careful=needs.careful
        )
        self._consumer = needs.consumer
        self._producer = producer
        self._settings = settings
        self._clock = needs.clock
        self._counts = needs.counts
        self._laps = needs.laps
        self._on_stored = needs.on_stored
        self._on_finished = needs.on_finished
        self._open: dict[Partition, list[Chunk]] = {}
        """The chunks of the transaction, those of a partition in the order of their settlement."""
        self._held: dict[Partition, list[Chunk]] = {}
        """Without a map, chunks that wait for others in front of them."""
        self._begun: float | None = None
        """When the transaction began; None without one."""
        self._messages = 0
        self._committed_at = needs.clock.monotonic()
        self._failure: str | None = None
        self._passes = False
        self._has_identity = False

    @property
    def failure(self) -> str | None:
        """Why the transaction cannot be committed; then only a new committer helps."""
        return self._failure or self.outbox.failure

    @property
    def passes(self) -> bool:
        """Whether a new committer need not wait: it will fare better at once."""
        return self._passes or self.outbox.learnt

    def take_over(self) -> None:
        """Be from now on who writes under this identity; raises `ClientError`.

        Only while the group has this member: the owner, if another has the name, is shut out.
        """
        if self._has_identity or self.failure is not None:
            return
        try:
            self._producer.take_over(self._settings.timeout)
        except ClientError as error:
            self._fail(str(error))
            raise
        self._has_identity = True

    def deliver(self, chunk: Chunk) -> None:
        """Make a chunk durable; `on_finished` is told when it is."""
        if self.failure is not None:
            return
        if not self.mapless:
            self._add(chunk)
            return
        held = self._held.setdefault(chunk.partition, [])
        held.append(chunk)
        for one in self._in_order(chunk.partition, held):
            held.remove(one)
            self._add(one)

    def has(self, partition: Partition) -> bool:
        """Whether there are chunks of a partition that not even `commit_now` would commit."""
        return bool(self._held.get(partition))

    def serve(self, timeout: float) -> None:
        """Take acknowledgements in, for up to `timeout` seconds, and commit when it is time to."""
        self._producer.poll(max(0.0, min(timeout, self.due_in)))
        self.outbox.send()
        if self._is_over:
            self._end(())

    @property
    def due(self) -> bool:
        """Whether it is time to commit, even if there are only offsets."""
        return self._is_over or self._clock.monotonic() >= self.offsets_due

    @property
    def due_in(self) -> float:
        """Seconds until the transaction has been open for as long as it may."""
        if self._begun is None:
            return inf
        return self._begun + self._settings.interval - self._clock.monotonic()

    @property
    def offsets_due(self) -> float:
        """When offsets that can be committed are, on the monotonic clock.

        They end no transaction that may stay open for longer: they are committed with it.
        """
        stays_open = self._begun is not None and self._settings.interval > IDLE_COMMIT
        return inf if stays_open else self._committed_at + IDLE_COMMIT

    @property
    def can_commit(self) -> bool:
        """Whether anything can be committed yet."""
        return self.failure is None

    @property
    def committing(self) -> bool:
        """Whether an answer to a commit is outstanding: each is waited for."""
        return False

    def commit_now(self, partitions: Collection[Partition], *, wait: bool) -> None:  # noqa: ARG002
        """Commit the transaction, and what else is committable of these partitions."""
        self._committed_at = self._clock.monotonic()
        self._end(partitions)

    def _end(self, partitions: Collection[Partition]) -> None:
        self._held = {p: chunks for p, chunks in self._held.items() if p.alive and chunks}
        if self.failure is not None:
            return
        if not all(partition.alive for partition in self._open):
            self._fail("a partition was lost with its results on their way", passes=True)
            self.settle()
            return
        of = dict.fromkeys([*partitions, *self._open])  # in an order that does not change
        commits = self.uncommitted(of)
        if not (commits or self._open):
            return
        try:
            with self._laps.within("commit"):
                self._commit(commits)
        except ClientError as error:
            self._counts.commit_failures += 1
            self.mapless |= METADATA_TOO_LARGE in str(error)
            self._fail(str(error), passes=any(code in str(error) for code in MOVED_ON))
            self.settle()
        else:
            self._counts.commits += 1
            self._finish(commits, of)

    def uncommitted(self, partitions: Collection[Partition]) -> Commits:
        """What there is to commit."""
        return {
            p.source: commit
            for p in partitions
            if p.alive and (commit := self._commit_of(p)) != p.committed
        }

    def committed(
        self, partitions: Collection[Partition], commits: Commits, error: str | None
    ) -> None:
        """Nothing is committed but in transactions."""

    def totals(self) -> ClientTotals:
        """The producer's own statistics."""
        return self._producer.totals()

    def kept(self, partition: Partition) -> Ranges:
        """What stays finished above `committable` when a partition is read again."""
        return partition.tracker.ranges()

    def found(self, partitions: Collection[Partition]) -> Mapping[Partition, Commit]:
        """Where partitions are read on that were committed without an answer; a `ClientError`.

        That is for a committer whose predecessor has failed.
        """
        committed = self._consumer.committed([partition.source for partition in partitions])
        return {
            partition: commit
            for partition in partitions
            if (commit := committed[partition.source]) not in (None, partition.committed)
        }

    def settle(self) -> None:
        """After a failure, abort the transaction: at once, be its partitions about to go."""
        if self._begun is None:
            return
        self._begun = None
        self._counts.aborts += 1
        with suppress(ClientError):  # a new producer does it otherwise
            self._producer.abort(self._settings.timeout + MARGIN)

    def clear(self) -> bool:
        """Whether nothing is on its way: no transaction is open, and nothing waits for one."""
        return self._begun is None and not any(self._held.values())

    def close(self, timeout: float) -> None:
        """Let go of the producer, and of a transaction that is open."""
        self.outbox.clear()
        self._producer.close(timeout)
        self.outbox.close()

    @property
    def _is_over(self) -> bool:
        """Whether the transaction has been open for as long as it may, or is large enough."""
        if self._begun is None:
            return False
        return self.due_in <= 0.0 or self._messages >= self._settings.messages

    def _add(self, chunk: Chunk) -> None:
        """Take a chunk into the transaction, its fences in front of its records."""
        try:
            self._begin()
        except ClientError as error:
            self._fail(str(error), passes=error.retriable)
            return
        self._open.setdefault(chunk.partition, []).append(chunk)
        self._messages += chunk.messages
        if chunk.fences is not None:
            self.outbox.put(chunk.fences)
        if chunk.number:
            self.outbox.put(chunk)
        else:
            self._on_stored(chunk)

    def _answered(self, chunk: Chunk) -> None:
        if chunk.partition.alive:
            self._on_stored(chunk)

    def _begin(self) -> None:
        if self._begun is None:
            self._producer.begin()
            self._begun = self._clock.monotonic()

    def _commit(self, commits: Commits) -> None:
        self._begin()
        deadline = self._clock.monotonic() + self._settings.timeout
        while self.outbox and self.failure is None and self._clock.monotonic() < deadline:
            self._producer.poll(QUEUE_WAIT)
            self.outbox.send()
        if self.outbox or self.failure is not None:
            raise ClientError(self.failure or "records were not taken in time")
        membership = self._consumer.membership() if commits else None
        self._producer.commit(commits, membership, self._settings.timeout + MARGIN)

    def _finish(self, commits: Commits, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            if partition.source in commits:
                partition.note = self._note_of(partition)
        through, self._open = self._open, {}
        if self._begun is not None:
            self._counts.transactions.note(self._clock.monotonic() - self._begun)
        self._begun, self._messages = None, 0
        for chunk in chain.from_iterable(through.values()):
            self._on_finished(chunk)
        for partition in partitions:
            if partition.source in commits:
                partition.committed = commits[partition.source]

    def _commit_of(self, partition: Partition) -> Commit:
        tracker = self._after(partition)
        if self.mapless:
            before = partition.committed
            if before is not None and tracker.committable < _known(before):
                return before
            return Commit(tracker.committable)
        note = self._note_of(partition)
        metadata = envelope.encode(tracker.committable, tracker.ranges(), note)
        return Commit(tracker.committable, metadata)

    def _note_of(self, partition: Partition) -> Note:
        """What the commit of the transaction notes: it moves `committable` itself."""
        moves = self._after(partition).committable > partition.tracker.committable
        return crashes.moved(partition.note) if moves else partition.note

    def _after(self, partition: Partition, held: Collection[Chunk] = ()) -> OffsetTracker:
        """What is finished of a partition when the transaction is committed, and what is held."""
        tracker = partition.tracker.copy()
        for chunk in (*self._open.get(partition, ()), *held):
            for start, end in chunk.ranges:
                tracker.finish(start, end)
        return tracker

    def _in_order(self, partition: Partition, held: Collection[Chunk]) -> list[Chunk]:
        """Those in front of which everything is in the transaction, or finished, with them.

        None while a map is committed of which some lies above: the next commit is without it.
        """
        able, before = list(held), -1
        while len(able) != before:
            before = len(able)
            end = self._after(partition, able).committable
            able = [chunk for chunk in able if all(last <= end for _, last in chunk.ranges)]
        if partition.committed is not None and end < _known(partition.committed):
            return []
        return able

    def _fail(self, reason: str, *, passes: bool = False) -> None:
        self._failure = self._failure or reason
        self._passes |= passes


def _known(commit: Commit) -> int:
    """No offset from here on is finished, as far as a commit says."""
    finished = envelope.decode(commit.metadata, commit.offset)
    return finished[-1][1] if finished else commit.offset
