"""A producer of transactions of the memory broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import cast

from worker.errors import ClientError, ClientFatal, Fenced, TransactionFailed
from worker.ports import Commits, Membership, OnFailed, OnStored
from worker.settings import ProducerSettings
from worker.testing.memory.cluster import Cluster
from worker.testing.memory.group import Group, Member, refused
from worker.testing.memory.log import Log
from worker.testing.memory.producer import BATCH_BYTES, SENDING, MemoryProducer, Queued, as_bytes
from worker.types import Encoded, TopicPartition


class MemoryTransactional(MemoryProducer):
    """Implements `ports.Transactional`; the methods after `close` inject faults, as `fail` does.

    The cluster begins a transaction with its first record, or with its offsets.
    """

    def __init__(
        self,
        cluster: Cluster,
        queue: int,
        identity: str,
        timeout: float,
        settings: ProducerSettings = SENDING,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        super().__init__(cluster, queue, settings, batch_bytes)
        self._patience = min(settings.delivery_timeout, timeout / 2)
        self._identity = identity
        self._timeout = timeout
        self._begun = False
        self._over: ClientError | None = None
        """Why only a new producer can go on."""
        self._refused: str | None = None
        """Why a record of the transaction is not stored."""
        self._commit_errors: deque[str] = deque()
        self._lost_answers: deque[bool] = deque()
        self._doubted = False
        """Whether another transaction could suffer from what the last one has left behind."""

    def take_over(self, timeout: float) -> None:
        """Take the identity over; while the broker is down a `retriable` error."""
        self.before("take_over")
        deadline = self._cluster.clock.monotonic() + timeout
        while True:
            seen = self._cluster.changes
            with self._cluster.lock:
                if self._cluster.up:
                    self._cluster.transactions.take_over(self._identity, self)
                    self._cluster.changed()
                    return
            if not self._cluster.wait(seen, deadline):
                raise ClientError("_TIMED_OUT: no broker answers", retriable=True)

    def begin(self) -> None:
        """Begin a transaction, of which the cluster does not learn yet."""
        self.before("begin")
        if self._doubted:
            self._give_up(ClientFatal("the last transaction has left something", retriable=True))
        self._require_sound()
        self._begun, self._refused = True, None

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """Queue records; `TransactionFailed` once a record of the transaction has failed."""
        self._require_begun()
        if self._refused is not None:
            raise TransactionFailed(self._refused)
        return super().send(records, on_stored, partial(self._note_refusal, on_failed))

    def commit(self, commits: Commits, membership: Membership | None, timeout: float) -> None:
        """Commit; without an answer in time it is not known what became of the transaction."""
        self.before("commit")
        self._require_begun()
        delivered = self._deliver_all(timeout)
        with self._cluster.lock:
            self._require_identity()
            if not delivered:
                raise self._unanswered()
            if commits:
                self._add(commits, membership)
            if self._commit_errors:
                self._refused = self._commit_errors.popleft()
            if self._refused is not None:
                raise TransactionFailed(self._refused)
            answered, committed = self._next_answer()
            if committed:
                self._end(commit=True)
        if not answered:
            raise self._unanswered()
        self._begun = False

    def abort(self, timeout: float) -> None:
        """Drop the transaction."""
        if not self._begun:
            return
        self.before("abort")
        self._require_sound()
        deadline = self._cluster.clock.monotonic() + timeout
        with self._cluster.lock:
            self._refuse_queue("_PURGE_QUEUE: the transaction was aborted")
        self._serve()
        while not self._cluster.up:
            if not self._cluster.wait(self._cluster.changes, deadline):
                raise self._unanswered()
        with self._cluster.lock:
            self._require_identity()
            self._end(commit=False)
        self._begun = False

    def close(self, timeout: float) -> None:
        """Abort what is open, if the broker answers."""
        if self._begun and self._over is None and not self._closed:
            with suppress(ClientError):
                self.abort(timeout)
        super().close(timeout)

    # --- faults ---

    def fail(self, error: str) -> None:
        """Let everything fail for good; what is open stays so until another takes over."""
        self._give_up(ClientFatal(error))
        super().fail(error)

    def fail_commits(self, error: str = "ILLEGAL_GENERATION", times: int = 1) -> None:
        """Let the next commits fail so that they can only be aborted."""
        self._commit_errors.extend([error] * times)

    def lose_answer(self, *, committed: bool) -> None:
        """Let nobody answer the next commit, whether it was done or not."""
        self._lost_answers.append(committed)

    def doubt(self) -> None:
        """Let the answer to the last commit or abort, or to the next, have been late."""
        self._doubted = True

    def shut_out(self) -> None:
        """Let another producer take the identity over, as the coordinator sees it."""
        with self._cluster.lock:
            self._cluster.transactions.take_over(self._identity, object())
            self._cluster.changed()

    # --- inside ---

    def _append(self, log: Log, record: Encoded, timestamp: int) -> None:
        transaction = self._cluster.transactions.transaction(self, self._timeout)
        transaction.logs.add(log)
        headers = as_bytes(record.headers)
        log.append(record.value, record.key, headers, timestamp, transaction)

    def _deliver(self, source: TopicPartition, batch: Sequence[Queued]) -> None:
        if self._cluster.transactions.owns(self._identity, self):
            super()._deliver(source, batch)
            return
        for one in batch:
            self._report(one, "INVALID_PRODUCER_EPOCH: another producer has taken over")

    def _deliver_all(self, timeout: float) -> bool:
        deadline = self._cluster.clock.monotonic() + timeout
        while True:
            seen = self._cluster.changes
            self._serve()
            if self._cluster.up and not self._queue:
                return True
            if not self._cluster.wait(seen, deadline):
                return False

    def _add(self, commits: Commits, membership: Membership | None) -> None:
        group, member, generation = cast("tuple[Group, Member | None, int]", membership)
        problems = refused(commits, self._cluster.partitions())
        self._refused = self._refused or group.refusal(member, generation)
        self._refused = self._refused or next(iter(problems.values()), None)
        transaction = self._cluster.transactions.transaction(self, self._timeout)
        transaction.offsets.append((group, dict(commits)))

    def _next_answer(self) -> tuple[bool, bool]:
        """Whether the commit is answered, and whether it is done."""
        return (False, self._lost_answers.popleft()) if self._lost_answers else (True, True)

    def _end(self, *, commit: bool) -> None:
        self._cluster.transactions.end(self, commit=commit)
        self._cluster.changed()

    def _note_refusal(self, on_failed: OnFailed, error: ClientError) -> None:
        self._refused = self._refused or str(error)
        self._doubted = self._doubted or not str(error).startswith("_PURGE")
        on_failed(error)

    def _require_begun(self) -> None:
        self._require_sound()
        if not self._begun:
            raise ClientError("no transaction was begun", advice="begin one first")

    def _require_sound(self) -> None:
        if self._over is not None:
            raise self._over

    def _require_identity(self) -> None:
        if not self._cluster.transactions.owns(self._identity, self):
            self._give_up(Fenced("_FENCED: another producer has taken over, or time is over"))
            self._require_sound()

    def _unanswered(self) -> ClientError:
        error = ClientFatal("_TIMED_OUT: no broker answers", retriable=True)
        self._give_up(error)
        return error

    def _give_up(self, error: ClientError) -> None:
        self._over = self._over or error
