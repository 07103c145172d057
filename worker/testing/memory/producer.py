"""A producer of the memory broker."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from typing import Final

from worker.errors import ClientError, ClientFatal, QueueFull
from worker.ports import OnFailed, OnStored
from worker.settings import ProducerSettings
from worker.settings.simulation import ClientCall
from worker.testing.memory.batch import OVERHEAD, content_size, record_size, refusals, surely_fits
from worker.testing.memory.cluster import Cluster, Topic, nothing
from worker.testing.memory.log import Log
from worker.types import (
    ClientTotals,
    Encoded,
    Failure,
    Headers,
    TopicPartition,
)

_REFUSALS = {
    "INVALID_RECORD": "unencodable",
    "INVALID_TIMESTAMP": "unencodable",
    "_INVALID_ARG": "unencodable",
    "MSG_SIZE_TOO_LARGE": "too_large",
    "_UNKNOWN_PARTITION": "unencodable",
}
"""Errors that are about a record itself, and the reason that its message is given up for."""

QUEUE: Final = 100_000
"""Records that a producer holds."""
SENDING: Final = ProducerSettings()
"""How records are sent where nothing else is said, as in a spec."""
BATCH_BYTES: Final = 1_000_000
"""How large a producer makes its batches that knows of no topic which takes less."""
MADE_WITHIN: Final = 30.0
"""Seconds after which a client says that a topic does not exist, and not that time is over."""

_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")
"""What no name of a header may hold: NUL, and half a character."""


@dataclass(slots=True)
class _Fault:
    error: str
    times: int
    when: Callable[[Encoded], bool]
    stored: bool


@dataclass(slots=True)
class Queued:
    """A record on its way."""

    record: Encoded
    receipt: _Receipt
    deadline: float
    """When it is given up, on the cluster's monotonic clock."""
    content: int
    """As `content_size` says."""
    fault: str | None = None
    """What is told of it though it is stored."""


@dataclass(slots=True)
class _Receipt:
    """What is still to be told of the records of one call."""

    number: int
    on_stored: OnStored
    on_failed: OnFailed
    stored: int = 0

    def report(self, error: ClientError | None) -> None:
        if error is not None:
            self.on_failed(error)
            return
        self.stored += 1
        if self.stored == self.number:
            self.on_stored(self.number)


class MemoryProducer:
    """Implements `ports.Producer`; the methods after `close` inject faults.

    A record is in the log when `send` returns, unless deliveries are held or the broker is down; it
    is reported in `poll`. What a call sends to a partition is a batch, as far as the settings let
    it: a bad record hurts those beside it, and none after it.
    """

    def __init__(
        self,
        cluster: Cluster,
        queue: int = QUEUE,
        settings: ProducerSettings = SENDING,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._cluster = cluster
        self._limit = queue
        self._patience = settings.delivery_timeout
        self._batch_records = settings.batch_messages
        self._batch_bytes = batch_bytes
        self._queue: deque[Queued] = deque()
        self._reports: deque[tuple[_Receipt, ClientError | None]] = deque()
        self._faults: deque[_Fault] = deque()
        self._held: Collection[int] | None = ()
        """Partitions whose records are kept; None for all."""
        self._held_topic: str | None = None
        """The only topic whose records are kept, if it is one alone."""
        self.before: Callable[[ClientCall], object] = nothing
        """What a test has happen first at each call."""
        self._fatal: str | None = None
        self._closed = False
        self._sent = self._sent_bytes = 0

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """Queue records; they lie in their logs already unless deliveries are held."""
        self.before("send")
        if self._fatal is not None:
            raise ClientFatal(self._fatal)
        if self._closed:
            raise ClientError("the producer is closed")
        with self._cluster.lock:
            fitting = records[: max(0, self._limit - len(self._queue) - len(self._reports))]
            if records and not fitting:
                raise QueueFull(f"{self._limit} records wait for their delivery")
            sound = list(takewhile(_can_be_sent, fitting))
            if fitting and not sound:
                raise ClientError(f"_INVALID_ARG: {fitting[0].topic} cannot have such a record")
            receipt = _Receipt(len(sound), on_stored, on_failed)
            deadline = self._cluster.clock.monotonic() + self._patience
            self._queue.extend(
                Queued(record, receipt, deadline, content_size(record)) for record in sound
            )
            self._transmit()
        return len(sound)

    def refusal(self, error: object) -> Failure | None:
        """What a message dies of whose record met this error; by the error's name."""
        reason = _REFUSALS.get(str(error).partition(":")[0])
        return None if reason is None else Failure(reason, text=str(error), harmless=True)

    def poll(self, timeout: float) -> int:
        """Report deliveries; returns as soon as one was reported."""
        self.before("serve")
        deadline = self._cluster.clock.monotonic() + timeout
        while True:
            seen = self._cluster.changes
            served = self._serve()
            if served or not self._cluster.wait(seen, deadline):
                return served

    @property
    def due(self) -> float:
        """When the first record that waits is given up; infinite while none does."""
        return self._queue[0].deadline if self._queue else inf

    def totals(self) -> ClientTotals:
        """Count what was sent so far."""
        return ClientTotals(
            messages_sent=self._sent,
            bytes_sent=self._sent_bytes,
            queued=len(self._queue) + len(self._reports),
        )

    def close(self, timeout: float) -> None:
        """Report what is delivered in time; the rest fails with `_PURGE_QUEUE`."""
        deadline = self._cluster.clock.monotonic() + timeout
        while not self._closed:
            seen = self._cluster.changes
            self._serve()
            if not self._queue or not self._cluster.wait(seen, deadline):
                self._closed = True
        with self._cluster.lock:
            self._refuse_queue("_PURGE_QUEUE: the producer was closed")
        self._serve()

    # --- faults ---

    def fail_next(
        self,
        error: str = "_MSG_TIMED_OUT",
        times: int = 1,
        when: Callable[[Encoded], bool] = lambda _record: True,
        *,
        stored: bool = False,
    ) -> None:
        """Let the next records for which `when` holds fail for good.

        Those that are `stored` all the same lie in their logs: only the answer of the broker fails.
        """
        with self._cluster.lock:
            self._faults.append(_Fault(error, times, when, stored))

    def hold_deliveries(
        self, partitions: Collection[int] | None = None, topic: str | None = None
    ) -> None:
        """Keep what is sent from now on in the queue, as brokers do that do not answer.

        Those of some partitions, of one topic or whatever the topic; a record that may go to any
        avoids them.
        """
        self._held, self._held_topic = partitions, topic

    def release(self) -> None:
        """Deliver what was held, in order."""
        with self._cluster.lock:
            self._held = ()
            self._transmit()
            self._cluster.changed()

    def fail(self, error: str) -> None:
        """Let everything that is not delivered fail, and every later `send` raise `ClientFatal`."""
        with self._cluster.lock:
            self._fatal = error
            self._refuse_queue(error)
            self._cluster.changed()

    # --- inside ---

    def _serve(self) -> int:
        with self._cluster.lock:
            self._transmit()
            if not self._reports:
                return 0
            reports, self._reports = self._reports, deque()
        for receipt, error in reports:
            receipt.report(error)
        return len(reports)

    def _transmit(self) -> None:
        if not self._queue:
            return
        queue, self._queue = self._queue, deque()
        ready: dict[TopicPartition, list[Queued]] = {}
        for one in queue:
            if self._waits(one.record):
                self._wait(one)
            elif self._is_on_its_way(one):
                ready.setdefault(self._place(one.record), []).append(one)
        for source, those in ready.items():
            for batch in self._batches(those):
                self._deliver(source, batch)

    def _waits(self, record: Encoded) -> bool:
        away = not self._cluster.up or record.topic not in self._cluster.topics
        return away or (self._held != () and self._is_held(record))

    def _wait(self, one: Queued) -> None:
        if self._cluster.clock.monotonic() < one.deadline:
            self._queue.append(one)
        elif self._is_unknown(one.record.topic) and self._patience >= MADE_WITHIN:
            self._report(one, f"UNKNOWN_TOPIC_OR_PART: {one.record.topic} does not exist")
        else:
            self._report(one, "_MSG_TIMED_OUT: no broker has answered")

    def _is_unknown(self, topic: str) -> bool:
        return self._cluster.up and topic not in self._cluster.topics

    def _is_on_its_way(self, one: Queued) -> bool:
        """Whether it comes as far as a broker; a record that does not is reported."""
        record = one.record
        fault = self._next_fault(record) if self._faults else None
        if fault is not None and not fault.stored:
            self._report(one, fault.error)
            return False
        refusal = self._refusal(record)
        if refusal is not None:
            self._report(one, refusal)
            return False
        one.fault = None if fault is None else fault.error
        return True

    def _refusal(self, record: Encoded) -> str | None:
        if (record.partition or 0) >= len(self._cluster.topics[record.topic].logs):
            return f"_UNKNOWN_PARTITION: {record.topic}[{record.partition}] does not exist"
        return self._cluster.why_refused(record)

    def _place(self, record: Encoded) -> TopicPartition:
        number = record.partition
        if number is None:
            number = self._cluster.topics[record.topic].choose(record.key)
        return TopicPartition(record.topic, number)

    def _batches(self, those: Sequence[Queued]) -> Iterator[list[Queued]]:
        contents = [one.content for one in those]
        if len(those) <= self._batch_records and surely_fits(contents, self._batch_bytes):
            yield [*those]
            return
        batch: list[Queued] = []
        size = OVERHEAD
        for one in those:
            more = record_size(one.content, len(batch), 0)
            if batch and (len(batch) == self._batch_records or size + more > self._batch_bytes):
                yield batch
                batch, size = [], OVERHEAD
            batch.append(one)
            size += more
        yield batch

    def _deliver(self, source: TopicPartition, batch: Sequence[Queued]) -> None:
        topic = self._cluster.topics[source.topic]
        records, now = [one.record for one in batch], self._cluster.now()
        contents = [one.content for one in batch]
        errors: Sequence[str | None] | None = refusals(records, contents, topic, now)
        if errors is None:
            self._store(self._cluster.log(source), topic, records, now)
            errors = [one.fault for one in batch]
        for one, error in zip(batch, errors, strict=True):
            self._report(one, error)

    def _store(self, log: Log, topic: Topic, records: Sequence[Encoded], now: int) -> None:
        for record in records:
            self._append(log, record, topic.dated(record.timestamp, now))
            self._sent_bytes += _size(record)
        self._sent += len(records)
        self._cluster.changed()

    def _report(self, one: Queued, error: str | None) -> None:
        self._reports.append((one.receipt, None if error is None else ClientError(error)))

    def _is_held(self, record: Encoded) -> bool:
        if self._held_topic not in (None, record.topic):
            return False
        if not self._held:
            return self._held is None
        topic = self._cluster.topics.get(record.topic)
        partition = record.partition
        if partition is None and record.key is not None and topic is not None:
            partition = topic.choose(record.key)
        return partition in self._held

    def _refuse_queue(self, error: str) -> None:
        while self._queue:
            self._report(self._queue.popleft(), error)

    def _append(self, log: Log, record: Encoded, timestamp: int) -> None:
        log.append(record.value, record.key, as_bytes(record.headers), timestamp)

    def _next_fault(self, record: Encoded) -> _Fault | None:
        for fault in self._faults:
            if fault.when(record):
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
                return fault
        return None


def as_bytes(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Headers with their text as bytes, as they come back from a broker."""
    return [(name, v.encode() if isinstance(v, str) else v) for name, v in headers]


def _can_be_sent(record: Encoded) -> bool:
    return not record.headers or not any(_UNSENDABLE.search(name) for name, _ in record.headers)


def _size(record: Encoded) -> int:
    size = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value or b"")
    return size
