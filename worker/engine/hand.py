"""A hand, as its pool holds it: a process that handles runs, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from time import monotonic
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from worker.engine import wire
from worker.engine.inside import NOWHERE, Make, serve
from worker.engine.partition import AtHand
from worker.engine.topics import KnownTopics
from worker.flow.retry import too_late
from worker.flow.suspects import crashed
from worker.spawn import CONTEXT, signals_held_back
from worker.types import Failure, Headers, RawMessage, TopicPartition

LOOK_EVERY: Final = 0.05
"""Seconds between two looks at a hand that says nothing."""
LAST_WORDS: Final = 2.0
"""Seconds that a process gets to end when it has nothing more to say."""


class Gone(Exception):
    """A hand has ended by itself, or was ended since a message took too long."""

    def __init__(
        self, failure: Failure, at: int | None, seconds: float, *, certain: bool = False
    ) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.at = at
        """Which of its messages it was at; None if it was at none."""
        self.seconds = seconds
        """For how long."""
        self.certain = certain
        """Whether it would not be otherwise another time."""


class Broken(Exception):
    """A hand has said why it cannot work, and no other could."""


class Dismissed(Exception):
    """The pool was closed while the hand was at work."""


class Answer(NamedTuple):
    """What has become of the first messages, as plain outcomes, and by what they are followed."""

    outcomes: Sequence[Any]
    contexts: dict[int, Headers]
    decoding: float | None
    """Seconds that decoding took, where that was measured."""


class Hand:
    """Belongs to the thread that has made it, which has to live as long; raises `OSError`.

    A fork in a handler may hold all pipes open after the process has ended: so ends are seen by
    looking at the process.
    """

    def __init__(
        self,
        name: str,
        make: Make,
        topics: KnownTopics,
        timeout: float | None,
        closed: threading.Event,
    ) -> None:
        self._topics = topics
        self._timeout = timeout
        self._closed = closed
        self._told: tuple[dict[str, int], dict[str, int]] | None = None
        self._place = CONTEXT.RawArray("d", (NOWHERE, 0.0))
        self._connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=serve, args=(theirs, self._place, make), name=name)
        try:
            with signals_held_back():
                self._process.start()
        except BaseException:
            self._connection.close()
            raise
        finally:
            theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        self._connection.close()
        self._process.close()

    def wait_until_ready(self) -> None:
        """Wait for its first word; raises `Gone` or `Broken`."""
        self._hear(lambda: False)

    def handle(
        self,
        source: TopicPartition,
        messages: Sequence[RawMessage],
        again: Mapping[int, Headers],
    ) -> Answer:
        """Have messages handled; raises `Gone` or `Dismissed`.

        `again` is what is known of those that are tried again.
        """
        contexts = wire.plain_contexts(again)
        self._say(self._news(), *source, wire.plain_messages(messages), contexts)
        while True:
            match self._hear(self._closed.is_set):
                case ("partitions", topic, wanted):
                    self._say(self._topics.partitions(topic, wanted))
                    self._place[1] = monotonic()  # its message did not take the time, we did
                case (_, *answer):
                    return Answer(*answer)

    def at_hand(self) -> AtHand | None:
        """Which of the messages that it has it is at, for any thread."""
        at, begun = self._place
        return None if at == NOWHERE else AtHand(int(at), begun)

    def end(self) -> None:
        """Have it tear its resources down, and wait for that."""
        with suppress(Gone):
            self._say()
            while not self._has_spoken() and self._process.exitcode is None:
                pass
        self._process.join(LAST_WORDS)

    def _news(self) -> tuple[dict[str, int], dict[str, int]] | None:
        """What it has not been told yet of topics."""
        known = dict(self._topics.limits), dict(self._topics.numbers)
        if known == self._told:
            return None
        self._told = known
        return known

    def _say(self, *values: Any) -> None:
        try:
            wire.send(self._connection, *values)
        except OSError:
            raise self._gone() from None

    def _hear(self, is_over: Callable[[], bool]) -> Sequence[Any]:
        while not self._has_spoken():
            if is_over():
                raise Dismissed
            if self._process.exitcode is not None:
                raise self._gone()
            self._end_if_late()
        try:
            said = wire.receive(self._connection)
        except (EOFError, OSError):
            raise self._gone() from None
        if said[0] == "broken":
            raise Broken(said[1])
        return said

    def _has_spoken(self) -> bool:
        return self._connection in wait([self._connection, self._process.sentinel], LOOK_EVERY)

    def _end_if_late(self) -> None:
        at, begun = self._place
        seconds = monotonic() - begun
        if self._timeout is None or at == NOWHERE or seconds <= self._timeout:
            return
        self._kill()
        if [at, begun] == list(self._place):
            raise Gone(too_late(self._timeout), int(at), seconds, certain=True)
        raise self._gone()

    def _gone(self) -> Gone:
        seen = monotonic()
        self._process.join(LAST_WORDS)
        self._kill()
        at, begun = self._place
        code = self._process.exitcode or 0
        return Gone(crashed(code), None if at == NOWHERE else int(at), seen - begun)

    def _kill(self) -> None:
        self._process.kill()
        self._process.join()
