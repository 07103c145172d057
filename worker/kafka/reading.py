"""Reading for the client: partitions assigned by hand, or membership in a group."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Final, Literal

from worker.errors import ClientError, CommitFailed, ConsumeFailed
from worker.kafka.consumer import KafkaConsumer
from worker.ports import Commits, Offsets
from worker.types import Commit, Message, TopicPartition

log = logging.getLogger(__name__)

Handler = Callable[[Message], object]
OnPartitions = Callable[[Sequence[TopicPartition]], object]

POLL_FOR: Final = 0.1
"""Seconds of one poll; a stop is noticed within it."""
POLL_LIMIT: Final = 500
HANDLE_FOR: Final = 0.1
"""Seconds between two polls, or as long as one message takes: so membership depends on no more."""
CLOSE_WITHIN: Final = 30.0
"""Seconds to leave the group and close; librdkafka's close is known to hang."""
COMMIT_EVERY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of the partitions that a member is given and gives back."""

    assigned: OnPartitions | None = None
    revoked: OnPartitions | None = None
    lost: OnPartitions | None = None


class ByHand:
    """Partitions that nobody else competes for, as `ports.Rebalance`; nothing is committed."""

    gone: OnPartitions = staticmethod(lambda _partitions: None)
    """Told of partitions whose messages are no longer to be handled."""

    def admitted(self) -> None:
        """There is nothing that only one member can have."""

    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        """Not told: whoever assigns by hand knows."""
        return {source: commit.offset for source, commit in committed.items() if commit}

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

    def committed(self, commits: Commits, error: str | None) -> None:
        """Say so when a commit has failed."""
        if error is not None:
            names = ", ".join(map(str, commits))
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
        self._unsaid: dict[TopicPartition, int] = {}
        """Where partitions start that had no committed offset; to be committed before the first
        message, or else a crash would lose what came until then, with the start `newest`."""
        self._commit_due = time.monotonic() + COMMIT_EVERY

    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        """Start at the committed offsets, and where there is none as the settings say."""
        fresh = [source for source, commit in committed.items() if commit is None]
        starts = {source: commit.offset for source, commit in committed.items() if commit}
        if fresh:
            found = self._consumer.find(fresh, self._start)
            self._unsaid.update(found)
            starts |= found
        _tell(self._told.assigned, list(committed))
        return starts

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Commit before the partitions go."""
        self.gone(partitions)
        self._next = {**self._unsaid, **self._next}
        self._commit(partitions, wait=True)
        _tell(self._told.revoked, partitions)

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget: others may have them already."""
        self.gone(partitions)
        self._forget(partitions)
        _tell(self._told.lost, partitions)

    def handled(self, message: Message) -> None:
        """The message is done."""
        self._next[message.source] = message.offset + 1

    def keep_up(self) -> None:
        """Commit where new partitions start, and once a second."""
        if self._unsaid:
            self._next = {**self._unsaid, **self._next}
            self._commit(list(self._unsaid), wait=True)
        if self._next and time.monotonic() >= self._commit_due:
            self._commit(list(self._next), wait=False)
            self._commit_due = time.monotonic() + COMMIT_EVERY

    def _commit(self, partitions: Sequence[TopicPartition], *, wait: bool) -> None:
        commits = {s: Commit(self._next[s]) for s in partitions if s in self._next}
        self._forget(partitions)
        if not commits:
            return
        try:
            self._consumer.commit(commits, wait=wait)
        except CommitFailed as error:
            self.committed(commits, str(error))

    def _forget(self, partitions: Sequence[TopicPartition]) -> None:
        for source in partitions:
            self._next.pop(source, None)
            self._unsaid.pop(source, None)


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
        self.alone = False
        """Whether it runs in a thread of its own."""
        self._session = session
        self._handler = handler
        self._on_failure = on_failure
        self._waiting: deque[Message] = deque()
        self._stopping = threading.Event()
        self._handled = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        session.gone = self._drop

    @property
    def ended(self) -> bool:
        """Whether the consumer is closed."""
        return self._ended.is_set()

    @property
    def is_mine(self) -> bool:
        """Whether this thread is the one that reads."""
        return self._thread is threading.current_thread()

    def run(self) -> None:
        """Read until stopped; raises `ConsumeFailed`, and what ends the process in a thread."""
        self._thread = threading.current_thread()
        try:
            self._read()
        except BaseException as error:
            if not isinstance(error, Exception) and not self.alone:
                raise
            self.failure = failure = _failure(error)
            self._on_failure(failure)
            if failure is error:
                raise
            raise failure from error
        finally:
            self._handled.set()
            self._ended.set()

    def start(self) -> None:
        """Read in a thread of its own; a failure is logged, and raised where it is stopped."""
        self.alone = True
        threading.Thread(target=self._run_alone, name="kafka-reading", daemon=True).start()

    def stop(self, timeout: float | None = None) -> bool:
        """Handle no further message, and wait until the consumer is closed; whether it is.

        Waits for the handler for `timeout` seconds, without one for as long as it takes. Called by
        the handler it does not wait: the consumer is closed when the handler returns.
        """
        self._stopping.set()
        if self.is_mine:
            return True
        begun = time.monotonic()
        if not self._handled.wait(timeout):
            return False
        left = CLOSE_WITHIN if timeout is None else timeout - (time.monotonic() - begun)
        return self._ended.wait(max(0.0, left))

    def _run_alone(self) -> None:
        try:
            self.run()
        except ConsumeFailed as failure:
            log.error("reading has stopped: %s", failure)  # noqa: TRY400 - the cause is the user's

    def _read(self) -> None:
        try:
            while not self._stopping.is_set():
                self._poll()
                self._session.keep_up()
                self._handle_for_a_while()
        finally:
            self._handled.set()
            self.consumer.close()

    def _poll(self) -> None:
        """Take messages; while some wait one at most, which keeps the membership."""
        limit, timeout = (1, 0.0) if self._waiting else (POLL_LIMIT, POLL_FOR)
        for fetch in self.consumer.poll(limit, timeout):
            self._waiting.extend(map(Message, fetch.messages))

    def _handle_for_a_while(self) -> None:
        deadline = time.monotonic() + HANDLE_FOR
        while self._waiting and not self._stopping.is_set():
            self._handle(self._waiting.popleft())
            if time.monotonic() > deadline:
                break

    def _drop(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget what waits of partitions that are no longer ours."""
        self._waiting = deque(one for one in self._waiting if one.source not in partitions)

    def _handle(self, message: Message) -> None:
        try:
            result = self._handler(message)
            if result is not None and isawaitable(result):
                raise TypeError("it returned an awaitable, which nobody awaits here")
        except Exception as error:
            raise ConsumeFailed(
                f"the handler raised at {message!r}: {type(error).__name__}: {error}",
                advice="mend it, or catch what it raises; the message was not committed",
            ) from error
        self._session.handled(message)
        self.messages += 1
        self.bytes += len(message.value or b"")


def _failure(error: BaseException) -> ConsumeFailed:
    if isinstance(error, ConsumeFailed):
        return error
    if isinstance(error, ClientError):
        return ConsumeFailed(
            error.text, code=error.code, retriable=error.retriable, advice=error.advice
        )
    return ConsumeFailed(f"{type(error).__name__}: {error}")


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
