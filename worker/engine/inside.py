"""The inside of a hand: the process in which a process pool has its handlers run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from worker.engine import wire
from worker.engine.execute import Executor
from worker.engine.heap import collect_rarely, keep_free_memory
from worker.engine.partition import Partition, Run
from worker.errors import WorkerError
from worker.flow.lanes import OneLane
from worker.spawn import end_with_parent, leave_signals_to_parent
from worker.types import Headers, Outcome, RawMessage, TopicPartition

NOWHERE = -1.0

Place = Any
"""Two numbers in shared memory: which message of its run a hand is at, and since when."""

Make = Callable[
    [Mapping[str, int], Callable[[str, int], int]], tuple[Executor, Callable[[], object]]
]
"""Sets up what handles messages, given sizes and partitions of topics, and what tears it down.

It is pickled, and called in the hand.
"""


class Topics:
    """What a hand knows of topics: it is told with each run, and asks for what is not known."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._partitions: dict[str, int] = {}
        self.limits: dict[str, int] = {}

    def take(self, known: tuple[dict[str, int], dict[str, int]] | None) -> None:
        """Remember what the pool knows; None where nothing has changed."""
        if known is not None:
            limits, self._partitions = known
            self.limits.clear()
            self.limits.update(limits)

    def partitions(self, topic: str, wanted: int) -> int:
        """How many partitions a topic has, by its name and the partition that is wanted."""
        known = self._partitions.get(topic, 0)
        if wanted < known:
            return known
        wire.send(self._connection, "partitions", wire.exact(topic), int(wanted))
        (answer,) = wire.receive(self._connection)
        return int(answer)


class Noted(list[RawMessage]):
    """Messages each of which is noted as the one at hand before it is handled."""

    def __init__(self, messages: Sequence[RawMessage], place: Place) -> None:
        super().__init__(messages)
        self._place = place

    def __iter__(self) -> Iterator[RawMessage]:
        for index, message in enumerate(super().__iter__()):
            note(self._place, index)
            yield message


def note(place: Place, index: float) -> None:
    """Note which message is at hand, from now on: the time first, so that none gets another's."""
    place[1] = monotonic()
    place[0] = index


def serve(connection: Connection, place: Place, make: Make) -> None:
    """Handle runs until there are no more."""
    end_with_parent()
    leave_signals_to_parent()
    keep_free_memory()
    topics = Topics(connection)
    try:
        executor, tear_down = make(topics.limits, topics.partitions)
    except BaseException as error:  # noqa: BLE001 - code of users may raise anything
        wire.send(connection, "broken", _why(error))
        return
    collect_rarely()
    with suppress(EOFError, OSError):
        wire.send(connection, "ready")
        while request := wire.receive(connection):
            run, outcomes = _handled(executor, topics, place, *request)
            plain = [*map(wire.plain_outcome, outcomes)]
            contexts = wire.plain_contexts(run.contexts or {})
            wire.send(connection, "done", plain, contexts, run.decoding)
        tear_down()
        wire.send(connection, "over")


def _handled(
    executor: Executor,
    topics: Topics,
    place: Place,
    known: tuple[dict[str, int], dict[str, int]] | None,
    topic: str,
    partition: int,
    plain: Sequence[Any],
    again: Mapping[int, Headers],
) -> tuple[Run, Sequence[Outcome]]:
    topics.take(known)
    messages = wire.messages_of(topic, partition, plain)
    source = Partition(TopicPartition(topic, partition), messages[0].offset(), None, OneLane())
    if executor.results.observer.follows:
        executor.results.observer.again(source.source, again)
    is_batch = executor.handler.batch is not None
    run = Run(source, messages if is_batch else Noted(messages, place))
    try:
        if is_batch:
            note(place, 0)
        return run, executor.execute(run)
    finally:
        place[0] = NOWHERE


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, WorkerError) else f"{type(error).__name__}: {error}"
