"""Handlers in processes of their own, for those that compute, and for those that may crash."""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from worker.engine import wire
from worker.engine.execute import SLICE
from worker.engine.hand import Answer, Broken, Dismissed, Gone, Hand
from worker.engine.inside import Make
from worker.engine.partition import Finished, Run
from worker.engine.pool import waiting_in
from worker.engine.topics import KnownTopics
from worker.errors import PipelineFailed
from worker.flow.backoff import backoff
from worker.flow.breaker import is_away
from worker.flow.headers import place_of
from worker.flow.retry import is_retried
from worker.flow.suspects import Place, Suspects
from worker.ports import Observer
from worker.settings import BreakerSettings, RetrySettings
from worker.types import Failed, Headers, Message, RawMessage

log = logging.getLogger(__name__)

LONGEST: Final = 100
"""Messages in a run at most; more save little of what a crossing costs."""
STARTS: Final = 5
"""How often in a row a hand may end without having handled anything, before the pipeline fails."""


@dataclass(frozen=True, slots=True)
class Portion:
    """The first messages of a run, which go to a hand."""

    run: Run
    messages: Sequence[RawMessage]
    again: Mapping[int, Headers]
    """What is known of those that are tried again, see `Observer.remembered`."""


@dataclass(frozen=True, slots=True)
class Back:
    """A portion that has come back from its hand, and what with: outcomes, or what went wrong."""

    portion: Portion
    answer: Answer | BaseException
    seconds: float


class ProcessPool:
    """Up to `size` handlers at a time, each in a process: a hand.

    A thread for each hand takes runs to it and starts another one when it has ended; it knows
    nothing else. What becomes of the messages is decided by whoever leads the pipeline.
    """

    in_process: Final = False

    def __init__(
        self,
        name: str,
        make: Make,
        topics: KnownTopics,
        size: int,
        *,
        batch: int | None,
        retry: RetrySettings,
        timeout: float | None,
        breaker: BreakerSettings | None,
        observer: Observer,
    ) -> None:
        self.outstanding = 0
        self.appetite = 1 if batch is None else batch
        """So many messages as are handled in a slice, so that few are sent in vain."""
        self._name = name
        self._make = make
        self._topics = topics
        self._size = size
        self._is_batch = batch is not None
        self._retry = retry
        self._timeout = timeout
        self._breaker = breaker
        self._observer = observer
        self._suspects = Suspects()
        self._done: list[Finished] = []
        self._portions: queue.SimpleQueue[Portion | None] = queue.SimpleQueue()
        self._back: queue.SimpleQueue[Back] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._has_started = False
        """Whether any hand has been ready."""
        self._in_vain: Counter[str] = Counter()
        """Starts in a row of hands that have handled nothing, by their names."""
        self._troubles: dict[str, str] = {}
        """Why hands cannot be had, by their names."""
        self._failed: str | None = None
        """Why there will be none any more."""

    # --- in the leading thread ---

    def start(self, steps: Iterator[None]) -> None:
        """See `Pool`."""
        names = [f"{self._name}-{number}" for number in range(self._size)]
        self._threads = [
            threading.Thread(target=self._work, args=(name,), name=name, daemon=True)
            for name in names
        ]
        for thread in self._threads:
            thread.start()
        threading.Thread(target=_lead, args=(steps,), name=self._name, daemon=True).start()

    @property
    def saturated(self) -> bool:
        """See `Pool`."""
        return self.outstanding >= self._size

    @property
    def hindrance(self) -> str | None:
        """See `Pool`."""
        for trouble in list(self._troubles.values()):
            return trouble
        return None if self._has_started else "its processes are starting"

    def submit(self, run: Run) -> None:
        """See `Pool`."""
        self.outstanding += 1
        messages: Sequence[RawMessage] = run.messages
        if self._suspects:
            places = _places(run, messages)
            fate = self._suspects.fate(places[0])
            if fate is not None:
                failure, seconds = fate
                again = is_retried(self._retry, failure.reason, TimeoutError)
                away = is_away(self._breaker, failure.reason, TimeoutError)
                failed = Failed(failure, again, away=away).after(seconds)
                run.contexts = self._observer.unwatched(messages[0], failed.failure)
                self._done.append(Finished(run, [failed], seconds=seconds))
                return
            messages = messages[: self._suspects.together(places)]
        follows, source = self._observer.follows, run.partition.source
        known = self._observer.remembered(source, messages) if follows else {}
        self._portions.put(Portion(run, messages, known))

    def collect(self, timeout: float) -> list[Finished]:
        """See `Pool`; raises `PipelineFailed` when no hand can be had any more."""
        if self._failed is not None:
            raise PipelineFailed(self._failed)
        done, self._done = self._done, []
        back = waiting_in(self._back, timeout if self.outstanding and not done else 0.0)
        done += map(self._finished, back)
        self.outstanding -= len(done)
        return done

    def recall(self) -> Sequence[Run]:
        """See `Pool`."""
        runs = [portion.run for portion in waiting_in(self._portions, 0.0) if portion is not None]
        self.outstanding -= len(runs)
        return runs

    def close(self) -> None:
        """See `Pool`; every hand is gone when this returns."""
        self._closed.set()
        for _ in self._threads:
            self._portions.put(None)
        for thread in self._threads:
            thread.join()

    def _finished(self, back: Back) -> Finished:
        run, messages = back.portion.run, back.portion.messages
        match back.answer:
            case Gone() as gone:
                self._blame(run, messages, gone)
                return Finished(run, ())
            case BaseException() as error:
                return Finished(run, (), error)
            case Answer(plain, contexts, decoding):
                run.contexts, run.decoding = contexts, decoding
                if self._suspects:
                    self._suspects.acquit(_places(run, messages[: len(plain)]))
                if not self._is_batch:
                    fitting = int(SLICE * len(plain) / back.seconds)
                    self.appetite = max(1, min(LONGEST, fitting))
                outcomes = [*map(wire.outcome_of, plain)]
                return Finished(run, outcomes, seconds=back.seconds)

    def _blame(self, run: Run, messages: Sequence[RawMessage], gone: Gone) -> None:
        """Nothing of what the hand had is handled; find out which message has ended it."""
        if gone.at is None:
            return
        at_hand = messages if self._is_batch else messages[gone.at : gone.at + 1]
        places = _places(run, at_hand)
        self._suspects.blame(places, gone.failure, gone.seconds, certain=gone.certain)
        where = place_of(Message(at_hand[0]))
        log.warning("%s: a process was at %s@%d: %s", self._name, *places[0], gone, extra=where)

    # --- in the thread of a hand ---

    def _work(self, name: str) -> None:
        while not self._closed.is_set():
            try:
                with Hand(name, self._make, self._topics, self._timeout, self._closed) as hand:
                    self._serve(name, hand)
            except Dismissed:
                return
            except Broken as error:
                self._failed = str(error)
            except (Gone, OSError) as error:
                if not isinstance(error, Gone) or error.at is None:
                    self._wait(name, error)
            except BaseException as error:
                log.exception("%s: a defect of the worker", name)
                self._failed = f"a defect of the worker: {error!r}"
            if self._failed is not None:
                return

    def _wait(self, name: str, error: Exception) -> None:
        """Wait before the next start, longer after each that was in vain, or give up."""
        self._in_vain[name] += 1
        if self._in_vain[name] == STARTS:
            self._failed = f"its processes end before they handle anything: {error}"
            return
        seconds = backoff(self._in_vain[name])
        log.error("%s: %s; another one starts in %g s", name, error, seconds)
        self._troubles[name] = str(error)
        self._closed.wait(seconds)

    def _serve(self, name: str, hand: Hand) -> None:
        """Take runs to a hand until the pool is closed; raises what ends it before."""
        hand.wait_until_ready()
        self._has_started = True
        self._troubles.pop(name, None)
        while (portion := self._portions.get()) is not None and not self._closed.is_set():
            begun = monotonic()
            run = portion.run
            run.look = hand.at_hand
            try:
                answer = hand.handle(run.partition.source, portion.messages, portion.again)
            except BaseException as error:
                self._back.put(Back(portion, error, monotonic() - begun))
                raise
            finally:
                run.look = None
            self._back.put(Back(portion, answer, monotonic() - begun))
            self._in_vain[name] = 0
        hand.end()


def _lead(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def _places(run: Run, messages: Sequence[RawMessage]) -> list[Place]:
    return [(run.partition.source, message.offset()) for message in messages]
