"""Where logs end, asked of the cluster now and then, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Final

from worker.errors import WorkerError
from worker.ports import Clock, Offsets
from worker.types import Isolation, TopicPartition

log = logging.getLogger(__name__)

ASK_EVERY: Final = 5.0
"""Seconds between an answer and the next question."""

Ask = Callable[[Sequence[TopicPartition], Isolation], Offsets]


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where a partition ended at some time after the question was sent."""

    offset: int
    asked: float
    """When it was sent, on the monotonic clock."""


class LogEnds:
    """Where the partitions of all pipelines of a process end.

    A consumer knows that of its last fetch only, so not while nothing is fetched. `want` and
    `known` are for any thread: what is known is replaced, never changed.
    """

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self.silent_since: float | None = None
        """Since when the cluster gives no answer, on the monotonic clock; None while it does."""
        self.asked = -inf
        """When the question was sent that was answered last, on the same clock."""
        self._ask = ask
        self._clock = clock
        self._wanted: dict[str, tuple[Isolation, frozenset[TopicPartition]]] = {}
        self._known: Mapping[Isolation, Mapping[TopicPartition, LogEnd]] = {}

    def want(
        self, pipeline: str, partitions: Collection[TopicPartition], isolation: Isolation
    ) -> None:
        """Ask for the ends of these from now on, and for no others of the pipeline."""
        self._wanted[pipeline] = isolation, frozenset(partitions)

    def known(self, partition: TopicPartition, isolation: Isolation) -> LogEnd | None:
        """The end by the last answer, if it told of the partition."""
        return self._known.get(isolation, {}).get(partition)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask again and again for as long as the `with` block lasts."""
        ending = threading.Event()

        def ask() -> None:
            while not ending.wait(ASK_EVERY):
                self.look()

        threading.Thread(target=ask, name="log-ends", daemon=True).start()
        try:
            yield
        finally:
            ending.set()  # a question may take its time, and nobody waits for the answer

    def look(self) -> None:
        """Ask once; without an answer what was known stays."""
        sent = self._clock.monotonic()
        try:
            self._known = {
                isolation: {
                    partition: LogEnd(offset, sent)
                    for partition, offset in self._ask(sorted(partitions), isolation).items()
                }
                for isolation, partitions in self._questions().items()
            }
        except WorkerError as error:
            log.debug("the ends of logs are not known: %s", error)
            self.silent_since = sent if self.silent_since is None else self.silent_since
        except Exception:
            log.exception("the ends of logs are not known")
        else:
            self.silent_since, self.asked = None, sent

    def _questions(self) -> dict[Isolation, set[TopicPartition]]:
        questions: dict[Isolation, set[TopicPartition]] = {}
        for isolation, partitions in list(self._wanted.values()):
            questions.setdefault(isolation, set()).update(partitions)
        return questions
