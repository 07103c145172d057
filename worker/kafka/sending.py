"""Sending for the client: one producer, one thread that serves its reports, futures for callers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread, current_thread
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from worker.errors import ClientError, ClientFatal, InvalidPartition, QueueFull, SendFailed
from worker.flow.counted import counted
from worker.kafka import arguments
from worker.kafka.config import Properties
from worker.kafka.delivery import Delivery
from worker.kafka.logs import client_logger
from worker.kafka.producer import ReportingProducer
from worker.types import Delivered, Encoded, TopicInfo

log = logging.getLogger(__name__)

SERVE_FOR: Final = 0.1
"""Seconds of one wait for reports; a close is noticed within it."""
SERVE_EVERY: Final = 500
"""Records after which a caller that sends fast serves reports."""
TICK: Final = 0.005
"""Seconds in which more than so many records are fast."""
LOOK_FOR: Final = 5.0
"""Seconds for the metadata of a topic."""
WAIT_FOR_ROOM: Final = 0.05
"""Seconds between two attempts while the queue is full."""

_LOGGER: Final = client_logger("producer")
_UNKNOWN: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - public constants
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError._MSG_TIMED_OUT,  # noqa: SLF001 - what becomes of records of a deleted topic
}
"""Errors after which a topic may be another one, or none."""


class Served:
    """A producer whose reports are served by a thread of its own, and replaced when it is fatal.

    While callers send fast they serve the reports themselves, since two threads that both want the
    interpreter cost a third of the throughput; what was added to deliveries is called by the thread
    all the same, because a caller may hold a lock that it wants.
    """

    def __init__(
        self,
        properties: Properties,
        on_error: Callable[[KafkaError], None],
        on_failure: Callable[[SendFailed], None],
    ) -> None:
        self._properties = properties
        self._on_error = on_error
        self.failed = on_failure
        self.messages = 0
        """Records that were acknowledged."""
        self.bytes = 0
        """Their payload."""
        self._sent = 0
        self._busy = False
        self._to_call: SimpleQueue[Delivery] = SimpleQueue()
        self._renewing = Lock()
        self._ended = Event()
        self.producer = ReportingProducer(properties, on_error)
        self._thread = Thread(target=self._serve, name="kafka-deliveries", daemon=True)
        self._thread.start()

    def send(self, record: Encoded, timeout: float) -> Delivery:
        """Queue a record, for which there is room within `timeout` seconds; raises `SendFailed`."""
        delivery = Delivery(self)
        try:
            self.producer.queue((record,), delivery)
        except ClientError as error:
            self._insist(record, delivery, error, timeout)
        self._sent += 1
        if self._busy and not self._sent % SERVE_EVERY:
            self.producer.serve(0)
        return delivery

    def call_back(self, delivery: Delivery) -> None:
        """See `delivery.Served`."""
        self._to_call.put(delivery)

    def serve_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Serve reports until `done`, in the thread that would otherwise wait for itself.

        Returns False at once in every other thread.
        """
        if current_thread() is not self._thread:
            return False
        deadline = inf if timeout is None else time.monotonic() + timeout
        while not done() and time.monotonic() < deadline:
            self.producer.serve(WAIT_FOR_ROOM)
        return True

    def close(self, timeout: float) -> int:
        """Deliver what is queued; what is left after `timeout` seconds fails, and is counted.

        A callback that does not return is left to itself.
        """
        deadline = time.monotonic() + timeout
        left = self.producer.drop(timeout)
        self._ended.set()
        if current_thread() is not self._thread:
            self._thread.join(max(SERVE_FOR * 2, deadline - time.monotonic()))
        if not self._thread.is_alive() or current_thread() is self._thread:
            self.producer.close(0.0)
        return left

    def _serve(self) -> None:
        seen = 0
        while not self._ended.is_set():
            self._busy, seen = self._sent - seen > SERVE_EVERY, self._sent
            if self._busy:
                self._ended.wait(TICK)
            else:
                self._poll()
            self._call_back()
        self._call_back()

    def _poll(self) -> None:
        try:
            self.producer.poll(SERVE_FOR)
        except ClientError as error:
            log.error("the producer reported: %s", error)  # noqa: TRY400 - no traceback

    def _call_back(self) -> None:
        with suppress(Empty):
            while True:
                self._to_call.get_nowait().call_back()

    def _insist(
        self, record: Encoded, delivery: Delivery, error: ClientError, timeout: float
    ) -> None:
        """Send a record that was refused, as soon as there is room; raises `SendFailed`."""
        deadline = time.monotonic() + timeout
        while isinstance(error, QueueFull) and time.monotonic() < deadline:
            self.producer.serve(WAIT_FOR_ROOM)
            try:
                self.producer.queue((record,), delivery)
            except ClientError as another:
                error = another
            else:
                return
        if isinstance(error, ClientFatal):
            self._renew()
        refused = _refused(record, error)
        self.failed(refused)
        raise refused from error

    def _renew(self) -> None:
        with self._renewing:
            broken = self.producer
            if broken.fatal is not None:
                self.producer = ReportingProducer(self._properties, self._on_error)
                broken.close(0.0)


@dataclass(frozen=True, slots=True)
class Route:
    """Where the records of a topic go."""

    partitions: int
    served: Served


class Sender:
    """The producers of a client; for any thread.

    `info` says what the cluster knows of a topic, and raises `TopicNotFound`: a producer would make
    unknown topics silently where the brokers let it. Brokers refuse a batch as a whole when it is
    too large for its topic, so a topic that takes less than a batch has a producer of small ones.
    """

    def __init__(
        self,
        properties: Properties,
        info: Callable[[str], TopicInfo],
        on_error: Callable[[KafkaError], None],
        on_failure: Callable[[SendFailed], None],
    ) -> None:
        self._properties = properties
        self._info = info
        self._on_error = on_error
        self._on_failure = on_failure
        self._routes: dict[str, Route] = {}
        self._making = Lock()
        self.main = Served(properties, on_error, self._failed)
        self._by_batch: dict[int, Served] = {properties["batch.size"]: self.main}

    def send(self, record: Encoded, timeout: float) -> Delivery:
        """Queue a record, for which there is room within `timeout` seconds.

        Raises `SendFailed`, `TopicNotFound` and `InvalidPartition`.
        """
        route = self._routes.get(record.topic)
        if route is None or (record.partition or 0) >= route.partitions:
            route = self._find(record)
        return route.served.send(record, timeout)

    def send_all(self, records: Sequence[Encoded], timeout: float) -> list[Delivered]:
        """Send records and wait for all; raises `SendFailed`, which names each that failed."""
        deadline = time.monotonic() + timeout
        sent = [self._try(record, deadline) for record in records]
        outcomes = [_settled(one, deadline) for one in sent]
        delivered = [outcome for outcome in outcomes if isinstance(outcome, Delivered)]
        if len(delivered) < len(records):
            raise _some_failed(outcomes)
        return delivered

    def forget(self) -> None:
        """Ask the cluster again about each topic before its next record."""
        self._routes.clear()

    def close(self, timeout: float) -> None:
        """Deliver what is queued; what is left after `timeout` seconds fails."""
        deadline = time.monotonic() + timeout
        every = list(self._by_batch.values())
        left = sum(served.close(max(0.0, deadline - time.monotonic())) for served in every)
        if left:
            records = counted(left, "record was", "records were")
            log.error("%s not delivered in %.1f s, and given up", records, timeout)

    @property
    def sent(self) -> tuple[int, int]:
        """Records that were acknowledged, and the bytes of their payload."""
        every = list(self._by_batch.values())
        return sum(one.messages for one in every), sum(one.bytes for one in every)

    def _failed(self, error: SendFailed) -> None:
        """Log and count; a topic that is gone is looked for again at the next record."""
        if error.code in _UNKNOWN:
            self.forget()
        _LOGGER.warning("%s", error)
        self._on_failure(error)

    def _try(self, record: Encoded, deadline: float) -> Delivery | SendFailed:
        try:
            return self.send(record, max(0.0, deadline - time.monotonic()))
        except SendFailed as failed:
            return failed
        except ClientError as error:
            refused = _refused(record, error)
            refused.__cause__ = error
            return refused

    def _find(self, record: Encoded) -> Route:
        topic, partition = arguments.topic(record.topic), record.partition
        info = self._info(topic)
        if partition is not None and partition >= info.partitions:
            raise InvalidPartition(
                f"topic {topic} has no partition {partition}",
                advice=f"legal are 0 to {info.partitions - 1}",
            )
        with self._making:
            size = min(self._properties["batch.size"], info.max_message_bytes)
            if size not in self._by_batch:
                small = {**self._properties, "batch.size": size}
                self._by_batch[size] = Served(small, self._on_error, self._failed)
            route = self._routes[topic] = Route(info.partitions, self._by_batch[size])
        _look_again(route.served.producer, topic)
        return route


def _look_again(producer: ReportingProducer, topic: str) -> None:
    """Have the client learn of a topic now, that it took for missing, or for smaller, till now."""
    with suppress(KafkaException):
        producer.client.list_topics(topic, timeout=LOOK_FOR)


def _refused(record: Encoded, error: ClientError) -> SendFailed:
    retriable, advice = error.retriable, error.advice
    if isinstance(error, QueueFull):
        retriable, advice = True, "brokers do not keep up or are away: send less at a time, or wait"
    if isinstance(error, ClientFatal):
        retriable, advice = True, "a new producer is made: send again"
    text = f"a record for {record.topic} was not sent: {error.text}"
    return SendFailed(text, code=error.code, retriable=retriable, advice=advice)


def acknowledged(delivery: Delivery, deadline: float) -> Delivered:
    """Wait for an acknowledgement until a deadline; raises `SendFailed`."""
    try:
        return delivery.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise SendFailed(
            "a record was not acknowledged in time",
            retriable=True,
            advice="it may still arrive; sending again may duplicate",
        ) from None


def _settled(outcome: Delivery | SendFailed, deadline: float) -> Delivered | SendFailed:
    if not isinstance(outcome, Delivery):
        return outcome
    try:
        return acknowledged(outcome, deadline)
    except SendFailed as failed:
        return failed


def _some_failed(outcomes: Sequence[Delivered | SendFailed]) -> SendFailed:
    failed = {at: one for at, one in enumerate(outcomes) if isinstance(one, SendFailed)}
    names = [f"record {at}: {one.text}" for at, one in failed.items()]
    return SendFailed(
        f"{len(failed)} of {len(outcomes)} records were not delivered: {'; '.join(names)}",
        code=next(iter(failed.values())).code,
        retriable=all(one.retriable for one in failed.values()),
        advice="`failed` has each of them, `delivered` the others",
        delivered={at: one for at, one in enumerate(outcomes) if isinstance(one, Delivered)},
        failed=failed,
    )
