"""A producer of the memory broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from worker.errors import ClientError, ClientFatal, QueueFull
from worker.ports import OnFailed, OnStored
from worker.testing.cluster import Cluster
from worker.testing.log import Log
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
    "MSG_SIZE_TOO_LARGE": "too_large",
    "_UNKNOWN_PARTITION": "unencodable",
}
"""Errors that are about a record itself, and the reason that its message is given up for."""


@dataclass(slots=True)
class _Fault:
    error: str
    times: int
    when: Callable[[Encoded], bool]
    stored: bool


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
    is reported in `poll`. Each record is a batch of its own: one that fails leaves no record and
    does not hurt the records after it.
    """

    def __init__(self, cluster: Cluster, queue: int) -> None:
        self._cluster = cluster
        self._limit = queue
        self._queue: deque[tuple[Encoded, _Receipt]] = deque()
        self._reports: deque[tuple[_Receipt, ClientError | None]] = deque()
        self._faults: deque[_Fault] = deque()
        self._held: Collection[int] | None = ()
        """Partitions whose records are kept; None for all."""
        self._held_topic: str | None = None
        """The only topic whose records are kept, if it is one alone."""
        self._fatal: str | None = None
        self._closed = False
        self._sent = self._sent_bytes = 0

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """Queue records; they lie in their logs already unless deliveries are held."""
        if self._fatal is not None:
            raise ClientFatal(self._fatal)
        if self._closed:
            raise ClientError("the producer is closed")
        with self._cluster.lock:
            fitting = records[: max(0, self._limit - len(self._queue) - len(self._reports))]
            if records and not fitting:
                raise QueueFull(f"{self._limit} records wait for their delivery")
            receipt = _Receipt(len(fitting), on_stored, on_failed)
            self._queue.extend((record, receipt) for record in fitting)
            self._transmit()
        return len(fitting)

    def refusal(self, error: object) -> Failure | None:
        """What a message dies of whose record met this error; by the error's name."""
        reason = _REFUSALS.get(str(error).partition(":")[0])
        return None if reason is None else Failure(reason, text=str(error), harmless=True)

    def poll(self, timeout: float) -> int:
        """Report deliveries; returns as soon as one was reported."""
        deadline = self._cluster.clock.monotonic() + timeout
        while True:
            seen = self._cluster.changes
            served = self._serve()
            if served or not self._cluster.wait(seen, deadline):
                return served

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
            reports, self._reports = self._reports, deque()
        for receipt, error in reports:
            receipt.report(error)
        return len(reports)

    def _transmit(self) -> None:
        if not self._cluster.up:
            return
        queue, self._queue = self._queue, deque()
        for record, receipt in queue:
            if self._is_held(record):
                self._queue.append((record, receipt))
            else:
                self._reports.append((receipt, self._deliver(record)))

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
            _, receipt = self._queue.popleft()
            self._reports.append((receipt, ClientError(error)))

    def _deliver(self, record: Encoded) -> ClientError | None:
        fault = self._next_fault(record)
        error = self._refusal(record) if fault is None or fault.stored else fault.error
        if error is not None:
            return ClientError(error)
        topic = self._cluster.topics[record.topic]
        partition = topic.choose(record.key) if record.partition is None else record.partition
        log = self._cluster.log(TopicPartition(record.topic, partition))
        now = int(self._cluster.clock.time() * 1000)
        timestamp = now if record.timestamp is None else record.timestamp
        self._append(log, record, timestamp)
        self._sent += 1
        self._sent_bytes += _size(record)
        self._cluster.changed()
        return None if fault is None else ClientError(fault.error)

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

    def _refusal(self, record: Encoded) -> str | None:
        topic = self._cluster.topics.get(record.topic)
        if topic is None:
            return f"UNKNOWN_TOPIC_OR_PART: {record.topic} does not exist"
        if (record.partition or 0) >= len(topic.logs):
            return f"_UNKNOWN_PARTITION: {record.topic}[{record.partition}] does not exist"
        if _size(record) > topic.max_message_bytes:
            return f"MSG_SIZE_TOO_LARGE: {_size(record)} bytes, {topic.max_message_bytes} at most"
        return self._cluster.why_refused(record)


def as_bytes(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Headers with their text as bytes, as they come back from a broker."""
    return [(name, v.encode() if isinstance(v, str) else v) for name, v in headers]


def _size(record: Encoded) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
