"""Two producers that write the input at a rate, one of them in transactions, some aborted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from random import Random
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.faults.ledger import Fate, Ledger
from tests.faults.plan import Planned, plan

Write = Callable[[Iterator[Planned], float], None]

KEYS_BY_RATE: Final = 2.0
"""Keys that each producer has for each partition, for each message a second. With fewer, every one
soon has a message that is to be tried later, and all that come behind it go the same long way."""
TICK: Final = 0.1
TRANSACTION: Final = 0.5
"""Seconds of the input that a transaction holds."""
ABORTED: Final = 0.2
"""Part of the transactions that are aborted."""
PATIENCE: Final = 20.0
"""Seconds that one operation of a transaction may take, before it is asked for again."""
DELIVERED_WITHIN: Final = 300
"""Seconds within which a record is delivered, or fails."""
ENDS_WITHIN: Final = DELIVERED_WITHIN + PATIENCE
"""Seconds after which what is still being written counts as stuck."""


class Load:
    """Writes so many messages per second until it is stopped, as a context manager."""

    def __init__(
        self, address: str, topic: str, partitions: int, rate: float, seed: int, ledger: Ledger
    ) -> None:
        self._topic = topic
        self.partitions = partitions
        """Partitions that are written to; to be set when there are more."""
        self._ledger = ledger
        self._ended = threading.Event()
        self._rests = False
        self._client = {
            "bootstrap.servers": address,
            "linger.ms": int(1_000 * TICK),
            "enable.idempotence": True,
            "message.timeout.ms": 1_000 * DELIVERED_WITHIN,
            "queue.buffering.max.messages": 1_000_000,
            "topic.metadata.refresh.interval.ms": 1_000,
            "log_level": 0,
        }
        self._chance = Random(seed)
        self._failed: list[BaseException] = []
        keys = int(KEYS_BY_RATE * rate)
        plans = [plan(seed + one, one, 2, lambda: self.partitions, keys) for one in range(2)]
        self._threads = [
            threading.Thread(target=self._run, args=(write, messages, rate / 2), daemon=True)
            for write, messages in zip((self._write, self._transact), plans, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()

    def stop(self) -> None:
        """Write no more, and wait until the fate of everything is known; raises what went wrong."""
        self._ended.set()
        deadline = time.monotonic() + ENDS_WITHIN
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._failed:
            raise self._failed[0]
        if any(thread.is_alive() for thread in self._threads):
            raise TimeoutError(f"the fate of what was written is not known after {ENDS_WITHIN:g} s")

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Write nothing while the block lasts; it begins once the fate of everything is known."""
        self._rests = True
        try:
            while self._ledger.counts[Fate.SENT] and not self._failed:
                time.sleep(TICK)
            yield
        finally:
            self._rests = False

    def _run(self, write: Write, messages: Iterator[Planned], rate: float) -> None:
        try:
            write(messages, rate)
        except BaseException as error:  # noqa: BLE001 - raised by `stop`, in the thread that asks
            self._failed.append(error)

    def _write(self, messages: Iterator[Planned], rate: float) -> None:
        """Write without transactions."""
        producer = Producer(self._client)
        for number in self._ticks(rate, TICK):
            for one in islice(messages, number):
                self._send(producer, one, Fate.STORED)
            producer.poll(0)
        producer.flush(DELIVERED_WITHIN)

    def _transact(self, messages: Iterator[Planned], rate: float) -> None:
        """Write in transactions, and abort some of them once their records are in the log."""
        producer = self._transactional()
        for number in self._ticks(rate, TRANSACTION):
            batch = [*islice(messages, number)]
            fate = Fate.ABORTED if self._chance.random() < ABORTED else Fate.STORED
            try:
                producer.begin_transaction()
                for one in batch:
                    self._send(producer, one, Fate.SENT)
                producer.flush(PATIENCE)
                _ended(producer, fate)
            except (KafkaException, SystemError):  # see `worker.kafka.failures.reason`
                fate = Fate.DOUBTFUL
                producer = self._transactional()
            for one in batch:
                self._ledger.note(one.id, fate)

    def _transactional(self) -> Producer:
        """Make a producer of transactions, which ends what the one before it has begun."""
        producer = Producer(
            {**self._client, "transactional.id": "input", "message.timeout.ms": 30_000}
        )
        while True:
            try:
                producer.init_transactions(PATIENCE)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
            else:
                return producer

    def _ticks(self, rate: float, seconds: float) -> Iterator[int]:
        """How many messages are due, every so many seconds; what was lost is not made up for."""
        before, due = time.monotonic(), 0.0
        while not self._ended.wait(seconds):
            now = time.monotonic()
            due += 0.0 if self._rests else min(now - before, 2 * seconds) * rate
            yield int(due)
            before, due = now, due % 1

    def _send(self, producer: Producer, one: Planned, fate: Fate) -> None:
        self._ledger.note(one.id, Fate.SENT)
        told = partial(self._told, one.id, fate)
        producer.produce(self._topic, one.value, one.key, one.partition, on_delivery=told)

    def _told(self, one: int, fate: Fate, error: KafkaError | None, _: Message) -> None:
        self._ledger.note(one, fate if error is None else Fate.DOUBTFUL)


def _ended(producer: Producer, fate: Fate) -> None:
    """End a transaction, however often that has to be asked for."""
    end = producer.abort_transaction if fate is Fate.ABORTED else producer.commit_transaction
    while True:
        try:
            end(PATIENCE)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
        else:
            return
