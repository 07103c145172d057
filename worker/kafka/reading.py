"""Reading for the client: partitions assigned by hand, or membership in a group."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worker.errors import ClientError, CommitFailed, ConsumeFailed
from worker.kafka.consumer import KafkaConsumer
from worker.ports import Offsets
from worker.types import Message, TopicPartition

log = logging.getLogger(__name__)

Handler = Callable[[Message], object]
OnPartitions = Callable[[Sequence[TopicPartition]], object]

POLL_FOR: Final = 0.1
"""Seconds of one poll; a stop is noticed within it."""
POLL_LIMIT: Final = 500
HANDLE_FOR: Final = 0.1
"""Seconds between two polls that are aimed at: fewer messages are taken when a handler is slow,
so that polling, and with it the membership, depends on one message alone."""
COMMIT_EVERY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of the partitions that a member is given and gives back."""

    assigned: OnPartitions | None = None
    revoked: OnPartitions | None = None
    lost: OnPartitions | None = None


class ByHand:
    """Partitions that nobody else competes for, as `ports.Rebalance`; nothing is committed."""

    def assigned(self, committed: Mapping[TopicPartition, int | None]) -> Offsets:
        """Not told: whoever assigns by hand knows."""
        return {source: offset for source, offset in committed.items() if offset is not None}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Not told."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Not told."""

    def offset_lost(self, partition: TopicPartition) -> None:
        """Stop: nobody said where to go on."""
        raise ConsumeFailed(
            f"the next record of {partition} is no longer in the log",
            advice="begin at oldest, newest or another offset",
        )

    def committed(self, offsets: Offsets, error: str | None) -> None:
        """Say so when a commit has failed."""
        if error is not None:
            names = ", ".join(map(str, offsets))
            log.warning("not committed, messages of %s may come again: %s", names, error)

    def handled(self, message: Message) -> None:
        """Take note of a message that is done."""

    def keep_up(self) -> None:
        """Do what is due."""


class Member(ByHand):
    """Membership in a group, at least once: what is committed has been handled."""

    def __init__(
        self, consumer: KafkaConsumer, start: Literal["oldest", "newest"], told: Told
    ) -> None:
        self._consumer = consumer
        self._start = start
        self._told = told
        self._next: dict[TopicPartition, int] = {}
        """Per partition the offset after the last message handled, where it is not committed."""
        self._commit_due = time.monotonic() + COMMIT_EVERY

    def assigned(self, committed: Mapping[TopicPartition, int | None]) -> Offsets:
        """Start at the committed offsets, and where there is none as the settings say."""
        fresh = [source for source, offset in committed.items() if offset is None]
        starts = {source: offset for source, offset in committed.items() if offset is not None}
        if fresh:
            starts |= self._consumer.find(fresh, self._start)
        _tell(self._told.assigned, list(committed))
        return starts

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Commit before the partitions go."""
        self._commit(partitions, wait=True)
        _tell(self._told.revoked, partitions)

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget: others may have them already."""
        self._forget(partitions)
        _tell(self._told.lost, partitions)

    def handled(self, message: Message) -> None:
        """The message is done."""
        self._next[message.source] = message.offset + 1

    def keep_up(self) -> None:
        """Commit once a second."""
        if self._next and time.monotonic() >= self._commit_due:
            self._commit(list(self._next), wait=False)
            self._commit_due = time.monotonic() + COMMIT_EVERY

    def _commit(self, partitions: Sequence[TopicPartition], *, wait: bool) -> None:
        offsets = {source: self._next[source] for source in partitions if source in self._next}
        self._forget(partitions)
        if not offsets:
            return
        try:
            self._consumer.commit(offsets, wait=wait)
        except CommitFailed as error:
            self.committed(offsets, str(error))

    def _forget(self, partitions: Sequence[TopicPartition]) -> None:
        for source in partitions:
            self._next.pop(source, None)


class Reading:
    """One consumer and its handler, from the first poll to the close; `run` it in one thread."""

    def __init__(
        self,
        consumer: KafkaConsumer,
        session: ByHand,
        handler: Handler,
        on_failure: Callable[[ConsumeFailed], None],
    ) -> None:
        self.consumer = consumer
        self.failure: ConsumeFailed | None = None
        self.messages = 0
        """Messages that were handled."""
        self.bytes = 0
        """Their payload."""
        self._session = session
        self._handler = handler
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.alone = False
        """Whether it runs in a thread of its own."""

    @property
    def ended(self) -> bool:
        """Whether the consumer is closed."""
        return self._ended.is_set()

    def run(self) -> None:
        """Read until stopped; raises `ConsumeFailed`."""
        self._thread = threading.current_thread()
        try:
            self._read()
        except ConsumeFailed as failure:
            self._fail(failure)
            raise
        except ClientError as error:
            failed = ConsumeFailed(
                error.text, code=error.code, retriable=error.retriable, advice=error.advice
            )
            self._fail(failed)
            raise failed from error
        finally:
            self._ended.set()

    def start(self) -> None:
        """Read in a thread of its own; a failure is logged, and raised where it is stopped."""
        self.alone = True
        threading.Thread(target=self._run_alone, name="kafka-reading", daemon=True).start()

    def stop(self, timeout: float | None = None) -> bool:
        """Handle no further message, and wait until the consumer is closed; whether it is.

        Called by the handler it does not wait: the consumer is closed when the handler returns.
        """
        self._stopping.set()
        if self._thread is threading.current_thread():
            return True
        return self._ended.wait(timeout)

    def _run_alone(self) -> None:
        try:
            self.run()
        except ConsumeFailed as failure:
            log.error("reading has stopped: %s", failure)  # noqa: TRY400 - the cause is the user's

    def _read(self) -> None:
        limit = 1
        try:
            while not self._stopping.is_set():
                fetches = self.consumer.poll(limit, POLL_FOR)
                begun = time.monotonic()
                for message in (one for fetch in fetches for one in fetch.messages):
                    if self._stopping.is_set():
                        break
                    self._handle(message)
                if fetches:
                    limit = next_limit(limit, time.monotonic() - begun)
                self._session.keep_up()
        finally:
            self.consumer.close()

    def _handle(self, message: Message) -> None:
        try:
            self._handler(message)
        except Exception as error:
            raise ConsumeFailed(
                f"the handler raised at {message!r}: {type(error).__name__}: {error}",
                advice="mend it, or catch what it raises; the message was not committed",
            ) from error
        self._session.handled(message)
        self.messages += 1
        self.bytes += len(message.value or b"")

    def _fail(self, failure: ConsumeFailed) -> None:
        self.failure = failure
        self._on_failure(failure)


def next_limit(limit: int, seconds: float) -> int:
    """How many messages to take next, when those of the last poll took so long."""
    return max(1, limit // 2) if seconds > HANDLE_FOR else min(POLL_LIMIT, limit * 2)


def _tell(listener: OnPartitions | None, partitions: Sequence[TopicPartition]) -> None:
    if listener is None:
        return
    try:
        listener(partitions)
    except Exception as error:
        raise ConsumeFailed(
            f"{getattr(listener, '__name__', listener)} raised: {type(error).__name__}: {error}",
            advice="mend it, or catch what it raises",
        ) from error
