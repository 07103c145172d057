"""Moves dead letters, each once, together with the entries of their ledger."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Self

from confluent_kafka import KafkaError

from worker.errors import ClientError, ClientFatal, Fenced, QueueFull
from worker.flow.backoff import backoff
from worker.flow.deadletter import size_of
from worker.flow.ledger import Ledger
from worker.flow.letters import Letter
from worker.flow.rate import Rate
from worker.flow.redrive import Decide, Move, Selection, Stay, choices, record_of
from worker.kafka import config
from worker.kafka.failures import made
from worker.kafka.reader import Bounds, Reader
from worker.kafka.transactional import KafkaTransactional
from worker.settings import KafkaSettings
from worker.types import Encoded, TopicInfo, TopicPartition

log = logging.getLogger(__name__)

BATCH_MESSAGES: Final = 500
"""Dead letters of one transaction at most."""
BATCH_BYTES: Final = 8 * 1024**2
"""Bytes of one transaction after which it takes no further dead letter."""
TRANSACTION_TIMEOUT: Final = 60.0
"""Seconds after which the cluster aborts a transaction whose run has died."""
ANSWER_WITHIN: Final = 10.0
"""Seconds for an abort, which whoever begins next can do as well."""
TAKEN_OVER_WITHIN: Final = TRANSACTION_TIMEOUT + 10.0
"""Seconds for ending what an earlier run has left open."""
COMMITTED_WITHIN: Final = TRANSACTION_TIMEOUT + 10.0
"""Seconds for a commit."""
MOMENT: Final = 0.05
"""Seconds between two looks whether the rate, or the queue, has room."""
ATTEMPTS: Final = 5
"""Failures in a row after which the run gives up."""


@dataclass(frozen=True, slots=True)
class Task:
    """Which dead letters are to be moved, and where to."""

    topic: str
    topic_id: str
    ledger: str
    bounds: Mapping[TopicPartition, Bounds]
    """How far the dead-letter topic is read."""
    selection: Selection
    decide: Decide
    targets: Mapping[str, TopicInfo]
    """The topics that are written to."""
    limit: int | None = None
    """Dead letters to move at most."""


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    moved: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    """Dead letters by what has become of them and the topic that they went to."""
    stayed: Counter[str] = field(default_factory=Counter)
    """Dead letters that could not be moved, by why."""
    stopped: bool = False
    """Whether it was asked to stop before its end."""

    @property
    def number(self) -> int:
        """Dead letters that were moved."""
        return sum(self.moved.values())


def ledger_of(reader: Reader, topic: str, topic_id: str) -> Ledger:
    """Read a ledger whole; its topic has to be there."""
    ledger = Ledger(topic_id)
    for record in reader.records(topic):
        ledger.take(record.key, record.value)
    return ledger


class Mover:
    """One run of a task.

    Its `transactional.id` is the name of the ledger, whoever runs it: to begin ends the transaction
    of a run before, by commit or abort, and shuts that run out. Only then is the ledger read. So
    the ledger holds all that was ever moved, and after every failure but a fatal one the run just
    begins again, with a new producer: what a transaction with an unknown end has done stands there.
    """

    def __init__(
        self, kafka: KafkaSettings, task: Task, rate: Rate, on_progress: Callable[[Progress], None]
    ) -> None:
        self.progress = Progress()
        self._kafka = kafka
        self._task = task
        self._rate = rate
        self._on_progress = on_progress
        self._unknown: Sequence[tuple[Letter, Move]] = ()
        """The dead letters of a transaction whose end is not known."""

    def stop(self) -> None:
        """Have the run end after the transaction in hand; for any thread, and for signals."""
        self.progress.stopped = True

    def run(self) -> Progress:
        """Move what is to be moved, or until it is stopped.

        Raises `Fenced` when another run has begun, `ClientFatal` where only a new process can go
        on, and `ClientError` after several failures without any progress between them.
        """
        failures = 0
        while True:
            before = self.progress.number
            try:
                self._move_all()
            except Fenced:
                raise
            except ClientError as error:
                if isinstance(error, ClientFatal) and not error.retriable:
                    raise
                failures = failures + 1 if self.progress.number == before else 1
                if failures >= ATTEMPTS or self.progress.stopped:
                    raise
                log.warning("beginning again with a new producer: %s", error)
                time.sleep(backoff(failures))
            else:
                return self.progress

    def _move_all(self) -> None:
        with _Transactions(self._kafka, self._task) as transactions, Reader(self._kafka) as reader:
            ledger = ledger_of(reader, self._task.ledger, self._task.topic_id)
            self._count(one for one in self._unknown if one[0].place in ledger.entries)
            self._unknown = ()
            waiting = self._waiting(reader, ledger)
            while batch := self._batch(waiting, transactions):
                self._unknown = batch
                transactions.write(self._records(batch, ledger))
                self._unknown = ()
                self._count(batch)
                self._on_progress(self.progress)

    def _waiting(self, reader: Reader, ledger: Ledger) -> Iterator[tuple[Letter, Move]]:
        """The dead letters that can be moved; the others are counted."""
        task = self._task
        self.progress.stayed.clear()
        messages = reader.within(task.bounds)
        for letter, decided in choices(messages, ledger, task.selection, task.decide):
            match self._fitted(letter, decided):
                case Stay(why):
                    self.progress.stayed[why] += 1
                case Move() as move:
                    yield letter, move

    def _fitted(self, letter: Letter, decided: Move | Stay) -> Move | Stay:
        """The move as the topic that it goes to allows it."""
        if isinstance(decided, Stay) or decided.topic is None:
            return decided
        target, record = self._task.targets[decided.topic], record_of(letter, decided)
        if record is not None and size_of(record) > target.max_message_bytes:
            return Stay(
                f"too large for {decided.topic}, which takes {target.max_message_bytes:,} bytes"
            )
        if decided.partition is not None and not 0 <= decided.partition < target.partitions:
            return replace(decided, partition=None)
        return decided

    def _batch(
        self, waiting: Iterator[tuple[Letter, Move]], transactions: _Transactions
    ) -> list[tuple[Letter, Move]]:
        """The next dead letters, when the rate lets them go; none at the end."""
        while not (room := self._rate.room(time.monotonic())) and not self.progress.stopped:
            transactions.wait()
        if self.progress.stopped:
            return []
        if self._task.limit is not None:
            room = min(room, self._task.limit - self.progress.number)
        batch: list[tuple[Letter, Move]] = []
        size = 0
        while len(batch) < min(room, BATCH_MESSAGES) and size < BATCH_BYTES:
            one = next(waiting, None)
            if one is None:
                break
            batch.append(one)
            message = one[0].message
            size += size_of(Encoded("", message.value, message.key, message.headers))
        self._rate.take(len(batch), time.monotonic())
        return batch

    def _records(self, batch: Sequence[tuple[Letter, Move]], ledger: Ledger) -> list[Encoded]:
        records, now = [], time.time_ns() // 1_000_000
        for letter, move in batch:
            record = record_of(letter, move)
            if record is not None:
                records.append(record)
            records.append(
                ledger.entry(self._task.ledger, letter.place, move.fate, move.topic, now)
            )
        return records

    def _count(self, moved: Iterable[tuple[Letter, Move]]) -> None:
        self.progress.moved.update((move.fate, move.topic) for _, move in moved)


class _Transactions:
    """A producer that writes one transaction after the other, as a context manager.

    Raises `Fenced` and `ClientFatal`, after which it is not to be called again, and `ClientError`
    when a transaction was aborted.
    """

    def __init__(self, kafka: KafkaSettings, task: Task) -> None:
        self._topic = task.topic
        self._identity = task.ledger
        limits = {topic: info.max_message_bytes for topic, info in task.targets.items()}
        properties = config.transactional(kafka, limits, task.ledger, TRANSACTION_TIMEOUT)
        self._producer = made(lambda: KafkaTransactional(properties))

    def __enter__(self) -> Self:
        try:
            self._producer.take_over(TAKEN_OVER_WITHIN)
        except ClientError as error:
            self._producer.close(0.0)
            if error.code != KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
                raise
            how = f"grant this user Write and Describe on the transactional id {self._identity}"
            raise type(error)(error.text, code=error.code, advice=how) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Abort what is open, as far as that is possible: whoever begins next does it as well.

        Only then may it show that another run has begun, which is raised: to begin again would
        shut that one out.
        """
        try:
            with self._alone():
                self._producer.abort(ANSWER_WITHIN)
        except Fenced:
            raise
        except ClientError as error:
            log.warning("a transaction is left to whoever begins next: %s", error)
        finally:
            self._producer.close(0.0)

    def write(self, records: Sequence[Encoded]) -> None:
        """Write records in one transaction of their own."""
        with self._alone():
            self._producer.begin()
            self._queue(list(records))
            self._producer.commit({}, None, COMMITTED_WITHIN)

    def wait(self) -> None:
        """Let a moment pass."""
        self._producer.poll(MOMENT)

    def _queue(self, records: list[Encoded]) -> None:
        while records:
            try:
                del records[: self._producer.send(records, _ignore, _ignore)]
            except QueueFull:
                self.wait()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            yield
        except Fenced as error:
            raise Fenced(
                f"another run has begun on {self._topic}, or this one stood still for too long",
                code=error.code,
                advice="run it again while no other runs: it goes on where this one has ended",
            ) from error


def _ignore(_report: object) -> None:
    """The commit tells as well."""
