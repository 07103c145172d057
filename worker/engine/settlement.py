"""What becomes of the outcomes of a run: the one place that tells them apart."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard

from worker.engine.chunk import Chunk, Elsewhere
from worker.engine.job import Job
from worker.engine.moves import Moves
from worker.engine.partition import Finished, Partition, Run
from worker.flow.condemned import Condemned
from worker.flow.crashes import crashed
from worker.flow.deadletter import Origin, dead_letter, topic_of
from worker.flow.failures import FailureGroups
from worker.flow.headers import place_of
from worker.flow.health import Counts
from worker.flow.retry import decide, delay, policy
from worker.ports import Clock, Observer
from worker.types import (
    DeadLetter,
    Decision,
    Done,
    Encoded,
    Failed,
    Failure,
    Message,
    Outcome,
    RawMessage,
    RetryLater,
    Settled,
    Skip,
    Stop,
    bytes_of,
)

log = logging.getLogger(__name__)


class Postponed(NamedTuple):
    """A message that is tried again, and why it has failed."""

    message: RawMessage
    due: float | None
    """When, on the monotonic clock; None as soon as a breaker or a flood lets it."""
    failure: Failure


class Settlement:
    """Turns the outcomes of runs into chunks, and keeps count of what became of messages."""

    def __init__(
        self,
        job: Job,
        limits: Mapping[str, int],
        moves: Moves,
        clock: Clock,
        observer: Observer,
        counts: Counts,
        groups: FailureGroups,
    ) -> None:
        self.careful = False
        """Whether records are told apart and sent alone, since one was refused not long ago."""
        self.failures: Counter[str] = Counter()
        """Failures since they were last logged, by what became of the messages and why."""
        self.last_failure: str | None = None
        self.last_place: Mapping[str, object] = {}
        """Where the message of it lies."""
        self._settings = job.settings
        self._limits = limits
        self._moves = moves
        self._clock = clock
        self._observer = observer
        self._counts = counts
        self._groups = groups
        self._origin = Origin(job.group, job.name, job.handler)
        self._on_error = policy(job.settings)
        self._retry = job.settings.retry
        self._draw = job.draw
        self._breaker = job.breaker
        self._notes_success = job.breaker is not None or job.settings.flood_limit is not None
        self._in_order = job.settings.ordering == "partition"
        self._condemned = Condemned()

    def chunk(
        self, run: Run, outcomes: Sequence[Outcome]
    ) -> tuple[Chunk, Sequence[Postponed], str | None]:
        """What is to become durable of a run, what comes again, and why the pipeline is to stop."""
        partition, messages = run.partition, run.messages[: len(outcomes)]
        postponed: Sequence[Postponed] = ()
        stop = None
        if run.contexts:
            self._observer.remember(partition.source, run.contexts)
        if self._condemned:
            outcomes = self._without_condemned(run, outcomes)
        if _have_one_result_each(outcomes):
            self._counts.handled += len(outcomes)
            if self._notes_success:
                self._note_success(partition, len(outcomes))
            chunk = self._chunk(partition, messages, outcomes, outcomes)
        elif _none_failed(outcomes):
            if self._notes_success:
                self._note_success(partition, len(outcomes))
            chunk, stop = self._match_each(partition, messages, outcomes)
        else:
            messages, settled, postponed = self._judged(run, outcomes)
            chunk, stop = self._match_each(partition, messages, settled)
        if self._observer.follows and (run.contexts or chunk.elsewhere):
            chunk.sends = self._observer.sending(chunk.records)
        return chunk, postponed, stop

    def given_up(self, partition: Partition, messages: list[RawMessage]) -> Finished:
        """The run of one message that has ended the worker."""
        failure = crashed(partition.note)
        contexts = self._observer.unwatched(messages[0], failure)
        return Finished(Run(partition, messages, contexts=contexts), [Failed(failure)])

    def moved(
        self, partition: Partition, messages: Sequence[RawMessage], moves: Sequence[RetryLater]
    ) -> Chunk:
        """What is to become durable of messages that follow others to retry topics."""
        chunk, _ = self._match_each(partition, messages, moves)
        return chunk

    def refused(self, chunk: Chunk, place: int, failure: Failure) -> bool:
        """Give up the message of a record that no broker will ever take; whether it is known."""
        message = chunk.message_of(place)
        if message is not None:
            self._condemned.add(chunk.partition.source, message.offset(), failure)
        return message is not None

    def finished(self, chunk: Chunk) -> None:
        """Count the records of a chunk that is durable."""
        if chunk.sends is not None:
            chunk.sends.stored()
        self._counts.produced += chunk.number - len(chunk.elsewhere)
        moved = self._note_elsewhere(chunk) if chunk.elsewhere else 0
        age = self._clock.time() - chunk.written
        if chunk.written > 0.0 and age >= 0.0:
            self._counts.latency.note(age, chunk.messages - moved)
        if self._condemned:
            for start, end in chunk.ranges:
                self._condemned.forget(chunk.partition.source, start, end)

    def _judged(
        self, run: Run, outcomes: Sequence[Outcome]
    ) -> tuple[list[RawMessage], list[Settled], list[Postponed]]:
        """The messages that are settled, what became of them, and those that come again.

        In order, whatever comes behind one that comes again does so, too. Those of a run share
        the draw of their wait, so that a batch comes back as one.
        """
        now, draw = self._clock.monotonic(), self._draw()
        messages: list[RawMessage] = []
        settled: list[Settled] = []
        postponed: list[Postponed] = []
        for message, outcome in zip(run.messages, outcomes, strict=False):
            judged: Settled | Postponed
            if isinstance(outcome, Failed):
                judged = self._judge(run.partition, message, outcome, now, draw)
            else:
                judged = outcome
            if postponed and self._in_order:
                continue
            if judged is outcome and self._notes_success:
                self._note_success(run.partition, 1)
            if isinstance(judged, Postponed):
                postponed.append(judged)
            else:
                messages.append(message)
                settled.append(judged)
        for one in postponed:
            self._note("tried again", Message(one.message), one.failure)
            if self._observer.follows:
                self._observer.tried_again(one.message)
        self._counts.retried += len(postponed)
        return messages, settled, postponed

    def _judge(
        self, partition: Partition, message: RawMessage, failed: Failed, now: float, draw: float
    ) -> RetryLater | Decision | Postponed:
        time = int(self._clock.time() * 1000)
        breaker = self._breaker if failed.away else None
        if breaker is not None:
            breaker.failed(now, text_of(failed.failure))
        recoveries = None if breaker is None else breaker.recoveries
        counted = partition.attempts.failed(message.offset(), time, recoveries).counted
        if breaker is not None and breaker.is_open:
            return Postponed(message, None, failed.failure)
        is_over = self._moves.is_over(partition, message, failed, counted)
        later = self._moves.failed(partition, message, failed, is_over=is_over)
        if later is not None or is_over:
            if self._floods(partition, message, now):
                return Postponed(message, None, failed.failure)
            return later or decide(self._on_error, failed.failure)
        wait = failed.delay
        if wait is None:
            wait = delay(self._retry.backoff, max(1, counted), draw)
        return Postponed(message, now + wait, failed.failure)

    def _note_success(self, partition: Partition, messages: int) -> None:
        if self._breaker is not None:
            self._breaker.succeeded(self._clock.monotonic())
        if partition.flood is not None:
            was_flooded = partition.is_flooded
            partition.flood.passed(messages, self._clock.monotonic())
            if was_flooded and not partition.is_flooded:
                log.warning(
                    "%s: %s is not flooded any more", self._origin.pipeline, partition.source
                )

    def _floods(self, partition: Partition, message: RawMessage, now: float) -> bool:
        """Whether a message that has failed for good comes again, since too many do.

        Not where messages are tried one at a time anyway, after crashes.
        """
        if partition.flood is None or partition.note.alone:
            return False
        was_flooded = partition.is_flooded
        comes_again = partition.flood.failed(message.offset(), now)
        if partition.is_flooded and not was_flooded:
            log.error(
                "%s: %s is flooded, too many of its messages fail: one is tried at a time",
                self._origin.pipeline,
                partition.source,
            )
        return comes_again

    def _match_each(
        self,
        partition: Partition,
        messages: Sequence[RawMessage],
        outcomes: Sequence[Settled],
    ) -> tuple[Chunk, str | None]:
        handled, filtered = 0, 0
        records: list[Encoded] = []
        elsewhere: list[Elsewhere] = []
        stop = None
        for place, outcome in enumerate(outcomes):
            raw = messages[place]
            match outcome:
                case Encoded():
                    handled += 1
                    records.append(outcome)
                case Done():
                    handled += 1
                    filtered += not outcome.records
                    records += outcome.records
                case RetryLater():
                    elsewhere.append((raw, outcome))
                    records.append(outcome.record)
                case DeadLetter():
                    elsewhere.append((raw, outcome))
                    records.append(self._dead_letter(partition, raw, outcome.failure))
                case Skip(failure):
                    self._note("skipped", Message(raw), failure)
                    _count(self._counts.skipped, failure.reason, 1)
                case Stop(failure):
                    stop = _why_stopped(Message(raw), failure)
                    messages = messages[:place]
                    break
        self._counts.handled += handled
        self._counts.filtered += filtered
        chunk = self._chunk(partition, messages, outcomes, records)
        chunk.elsewhere = elsewhere
        moved = [became for _, became in elsewhere if isinstance(became, RetryLater)]
        if moved:
            chunk.fence(self._moves.fences(partition, moved))
        return chunk, stop

    def _note_elsewhere(self, chunk: Chunk) -> int:
        """Count the messages that have gone to other topics; returns how many to retry topics."""
        moved = 0
        for raw, became in chunk.elsewhere:
            match became:
                case RetryLater(record, lane=lane, failure=failure):
                    moved += 1
                    if lane is not None and chunk.partition.fences is not None:
                        chunk.partition.fences.stored(lane)
                    if failure is None:
                        self._counts.followed += 1
                    else:
                        self._note(f"moved to {record.topic}", Message(raw), failure)
                case DeadLetter(failure):
                    _count(self._counts.dead_lettered, failure.reason, 1)
                    self._note("dead-lettered", Message(raw), failure)
        self._counts.moved += moved
        return moved

    def _chunk(
        self,
        partition: Partition,
        messages: Sequence[RawMessage],
        outcomes: Sequence[Settled],
        records: Sequence[Encoded],
    ) -> Chunk:
        ranges, size = partition.lanes.ranges(messages), bytes_of(messages)
        told_apart = (messages, outcomes) if self.careful else ()
        chunk = Chunk(partition, ranges, len(messages), size, records, *told_apart)
        if messages:
            chunk.written = partition.written(messages[0])
        return chunk

    def _without_condemned(self, run: Run, outcomes: Sequence[Outcome]) -> list[Outcome]:
        left = list(outcomes)
        for index, message in enumerate(run.messages[: len(left)]):
            failure = self._condemned.failure(run.partition.source, message.offset())
            if failure is not None:
                left[index] = Failed(failure)
        return left

    def _dead_letter(self, partition: Partition, raw: RawMessage, failure: Failure) -> Encoded:
        target = self._settings.dead_letter
        assert target is not None  # noqa: S101 - `decide` gives dead letters only with a topic
        topic = topic_of(target, failure)
        return dead_letter(
            Message(raw),
            failure,
            self._origin,
            target,
            topic=topic,
            limit=self._limits[topic],
            tried=partition.attempts[raw.offset()],
            kept=self._observer.headers_moved(raw),
        )

    def _note(self, what: str, message: Message, failure: Failure) -> None:
        why = f"{what}: {text_of(failure)}"
        self.failures[why] += 1
        self._groups.note(what, message, failure, self._clock.time())
        self.last_failure = f"{message!r} {why}"
        self.last_place = place_of(message)


def _have_one_result_each(outcomes: Sequence[Outcome]) -> TypeGuard[Sequence[Encoded]]:
    """Whether there is nothing to tell apart, as in most runs."""
    return {*map(type, outcomes)} == {Encoded}


def _none_failed(outcomes: Sequence[Outcome]) -> TypeGuard[Sequence[Encoded | Done]]:
    return Failed not in {*map(type, outcomes)}


def _why_stopped(message: Message, failure: Failure) -> str:
    return (
        f"{message!r} could not be handled: {text_of(failure)}; give the pipeline a "
        "`dead_letter` topic, or `on_error: skip`, to go on after such a message"
    )


def text_of(failure: Failure) -> str:
    """What is told of a failure: never text that may hold payload."""
    text = f": {failure.text}" if failure.harmless else ""
    return f"{failure.reason} {failure.error}".strip() + text


def _count(counts: dict[str, int], reason: str, number: int) -> None:
    counts[reason] = counts.get(reason, 0) + number
