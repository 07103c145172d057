"""A worker that is killed, or stopped, at a moment of a message's way; run by system tests.

    python -m tests.system.killed SIGNAL MOMENT TIMES SPEC

It gets the signal, as SIGKILL or SIGSTOP, each time that the moment has come so many times, for so
many records. Moments are named by what is next. With `never` it gets none, but no retry record of
it gets to a broker. `TOLD` is logged if a transaction was open then.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException

from worker.app import Options, Wrap, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.engine.worker import Worker
from worker.flow import envelope
from worker.flow.crashes import Note
from worker.kafka.transactional import KafkaTransactional
from worker.observe import logs
from worker.ports import Commits, Consumer, OnFailed, OnStored, Producer, Rebalance, Transactional
from worker.settings.topics import is_retry_topic
from worker.types import Encoded, Fetch, TopicPartition

MOMENTS: Final = ("fence", "retry", "commit", "lift", "commit-of-retry")
"""A fence is to be written; it is stored, and the retry record is to be sent; that is stored, and
the offset is to be committed; the message is through, and its fence is to be lifted; retries are
through, and their offset is to be committed."""
IN_TRANSACTIONS: Final = ("send", "sent", "stored", "offsets", "end", "ending", "ended")
"""A record is to be sent in a transaction; it is on its way; it is stored; offsets are to be sent,
all records being stored; the transaction is to be committed; it is being committed; it is. They
count from when each partition has got on, those of retry topics too: who is killed before that is
taken for a victim of messages that end the worker."""
OPEN: Final = ("stored", "offsets", "end", "ending")
"""Moments at which the transaction is open for the brokers, too."""
AROUND: Final = ("consumed", "revoke", "revoked", "close")
"""Messages were read; partitions are to be given back; that was agreed to; the producer is to be
closed, since the worker stops."""
NEVER: Final = "never"
TOLD: Final = "a transaction is open"
FLUSH: Final = 10.0
"""Seconds to wait for records to be stored."""
SOON: Final = 0.004
"""Seconds within which a transaction is killed while it is being committed."""


class Trap:
    """Sends the process a signal each time that its moment has come so many times."""

    def __init__(self, number: signal.Signals, moment: str, times: int) -> None:
        if moment not in (*MOMENTS, *IN_TRANSACTIONS, *AROUND, NEVER):
            raise ValueError(f"there is no moment {moment!r}")
        self.withholds = moment == NEVER
        self.moment = moment
        self.open = False
        """Whether a record or an offset was sent in a transaction that is not committed."""
        self.stopping = False
        """Whether the worker was asked to stop."""
        self._committed: dict[TopicPartition, Note] = {}
        """What the last commit of each partition says of its owners."""
        self._number = number
        self._times = times
        self._come = Counter[str]()
        self._stored = 0

    def come(self, moment: str, times: int = 1) -> None:
        """Note that a moment has come so many times."""
        if self._comes(moment, times):
            self._spring()

    def come_soon(self, moment: str) -> None:
        """Note that a moment begins; then the signal comes in the middle of it."""
        if self._comes(moment, 1):
            threading.Timer(random.uniform(0.0, SOON), self._spring).start()

    def store(self, retries: int) -> None:
        """Note that so many retry records are stored."""
        self._stored += retries

    def commit(self, through: int) -> None:
        """Note that offsets are to be committed, those of so many retries among them."""
        self.come("commit", self._stored)
        self.come("commit-of-retry", through)
        self._stored = 0

    def commit_in_transaction(self, notes: Mapping[TopicPartition, Note]) -> None:
        """Note that commits with these notes are made."""
        self._committed |= notes

    @property
    def _gets_on(self) -> bool:
        notes = self._committed.values()
        return bool(notes) and not any(note.starts for note in notes)

    def _comes(self, moment: str, times: int) -> bool:
        if moment in IN_TRANSACTIONS and not self._gets_on:
            return False
        before = self._come[moment]
        self._come[moment] += times
        return moment == self.moment and before // self._times < self._come[moment] // self._times

    def _spring(self) -> None:
        if self.open:
            sys.stderr.write(f"{TOLD}\n")
            sys.stderr.flush()
        os.kill(os.getpid(), self._number)


class TrappedProducer:
    """Comes to the moments of fences and retry records."""

    def __init__(self, port: Producer, trap: Trap) -> None:
        self._port = port
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        fences = [record for record in records if record.topic.endswith(".fence")]
        lifted = sum(record.value is None for record in fences)
        retries = sum(is_retry_topic(record.topic) for record in records)
        self._trap.come("fence", len(fences) - lifted)
        self._trap.come("lift", lifted)
        self._trap.come("retry", retries)
        if retries and self._trap.withholds:
            return len(records)

        def stored(number: int) -> None:
            self._trap.store(retries)
            on_stored(number)

        return self._port.send(records, stored, on_failed)


class TrappedTransactional(TrappedProducer):
    """Comes to the moments of transactions, too."""

    def __init__(self, port: Transactional, trap: Trap) -> None:
        super().__init__(port, trap)
        assert isinstance(port, KafkaTransactional)
        self._client: Any = TrappedClient(port.client, trap)
        vars(port)["_client"] = self._client  # between two calls of one of the port's

    def send(self, records: Sequence[Encoded], on_stored: OnStored, on_failed: OnFailed) -> int:
        """See `ports.Producer`."""
        self._trap.come("send", len(records))
        sent = super().send(records, on_stored, on_failed)
        self._trap.open = True
        self._trap.come("sent", sent)
        if self._trap.moment == "stored":
            self._client.store()
        self._trap.come("stored", sent)
        return sent

    def close(self, timeout: float) -> None:
        """See `ports.Producer`."""
        if self._trap.stopping:
            self._trap.come("close")
        self._port.close(timeout)


class TrappedClient:
    """Comes to the moments within a commit."""

    def __init__(self, client: Any, trap: Trap) -> None:
        self._client = client
        self._trap = trap
        self._notes: Mapping[TopicPartition, Note] = {}

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the client's."""
        return getattr(self._client, name)

    def __len__(self) -> int:
        """How many records and reports wait in it."""
        return len(self._client)

    def store(self) -> None:
        """Wait until records are stored; what is fatal is told by the next call, too."""
        with suppress(KafkaException, SystemError):
            self._client.flush(FLUSH)

    def send_offsets_to_transaction(self, places: Sequence[Any], *arguments: Any) -> None:
        """As the client does."""
        self._notes = {
            TopicPartition(one.topic, one.partition): envelope.note_of(one.metadata, one.offset)
            for one in places
        }
        if self._trap.moment == "offsets":
            self.store()
        self._trap.come("offsets")
        self._client.send_offsets_to_transaction(places, *arguments)
        self._trap.open = True

    def abort_transaction(self, *arguments: Any) -> None:
        """As the client does."""
        self._client.abort_transaction(*arguments)
        self._trap.open = False

    def commit_transaction(self, *arguments: Any) -> None:
        """As the client does."""
        self._trap.come("end")
        self._trap.come_soon("ending")
        self._client.commit_transaction(*arguments)
        self._trap.open = False
        self._trap.commit_in_transaction(self._notes)
        self._trap.come("ended")


class TrappedConsumer:
    """Comes to the moments of commits without transactions, and of what is read."""

    def __init__(self, port: Consumer, trap: Trap) -> None:
        self._port = port
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """See `ports.Consumer`."""
        self._port.subscribe(topics, TrappedRebalance(rebalance, self._trap))

    def poll(self, limit: int, timeout: float) -> Sequence[Fetch]:
        """See `ports.Consumer`."""
        fetches = self._port.poll(limit, timeout)
        self._trap.come("consumed", sum(len(fetch.messages) for fetch in fetches))
        return fetches

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """See `ports.Consumer`."""
        through = sum(one.offset for source, one in commits.items() if is_retry_topic(source.topic))
        self._trap.commit(through)
        self._port.commit(commits, wait=wait)


class TrappedRebalance:
    """Comes to the moments at which partitions are given back."""

    def __init__(self, port: Rebalance, trap: Trap) -> None:
        self._port = port
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """See `ports.Rebalance`."""
        self._trap.come("revoke", len(partitions))
        self._port.revoked(partitions)
        self._trap.come("revoked", len(partitions))


class TrappedWorker:
    """Says that it is asked to stop."""

    def __init__(self, worker: Worker, trap: Trap) -> None:
        self._worker = worker
        self._trap = trap

    def stop(self) -> None:
        """As the worker does."""
        self._trap.stopping = True
        self._worker.stop()


def main() -> None:
    number, moment, times, spec = sys.argv[1:]
    logs.configure("info", "text")
    trap = Trap(signal.Signals[number], moment, int(times))
    consumer: Callable[[Consumer], Any] = lambda port: TrappedConsumer(port, trap)  # noqa: E731
    producer: Callable[[Producer], Any] = lambda port: TrappedProducer(port, trap)  # noqa: E731
    transactional: Callable[[Transactional], Any] = lambda port: TrappedTransactional(port, trap)  # noqa: E731
    options = Options(wrap=Wrap(consumer, producer, transactional))
    worker = build(load(Path(spec), os.environ, options, unreadable), options)
    with stopped_by_signals(TrappedWorker(worker, trap)):
        code = worker.run()
    leave(code)


if __name__ == "__main__":
    main()
