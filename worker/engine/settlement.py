"""What becomes of the outcomes of a run: the one place that tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from worker.engine.commit import Chunk
from worker.engine.job import Job
from worker.engine.partition import Run
from worker.flow.condemned import Condemned
from worker.flow.deadletter import Origin, dead_letter
from worker.flow.health import Counts
from worker.flow.retry import decide, policy
from worker.ports import Clock, Observer
from worker.types import (
    DeadLetter,
    Done,
    Encoded,
    Failure,
    Message,
    Outcome,
    RawMessage,
    Skip,
    Stop,
)


class Settlement:
    """Turns the outcomes of runs into chunks, and keeps count of what became of messages."""

    def __init__(
        self,
        job: Job,
        limits: Mapping[str, int],
        clock: Clock,
        observer: Observer,
        counts: Counts,
    ) -> None:
        self.careful = False
        """Whether chunks tell records apart, since one was refused of messages that come again."""
        self.given_up: Counter[str] = Counter()
        """Messages given up since they were last logged, by what became of them and why."""
        self.last_failure: str | None = None
        self._settings = job.settings
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._counts = counts
        self._origin = Origin(job.group, job.name, job.handler)
        self._on_error = policy(job.settings)
        self._condemned = Condemned()

    def chunk(self, run: Run, outcomes: Sequence[Outcome]) -> tuple[Chunk, Failure | None]:
        """What is to become durable of a run, and why the pipeline is to stop behind it."""
        if self._condemned:
            outcomes = self._judged(run, outcomes)
        if _have_one_result_each(outcomes):
            self._counts.handled += len(outcomes)
            return self._chunk(run, outcomes, len(outcomes), outcomes, Counter()), None
        return self._match_each(run, outcomes)

    def refused(self, chunk: Chunk, place: int, failure: Failure) -> bool:
        """Give up the message of a record that no broker will ever take; whether it is known."""
        message = chunk.message_of(place)
        if message is not None:
            self._condemned.add(chunk.partition.source, message.offset(), failure)
        return message is not None

    def finished(self, chunk: Chunk) -> None:
        """Count the records of a chunk that is durable."""
        dead = sum(chunk.dead_letters.values())
        self._counts.produced += chunk.number - dead
        for reason, number in chunk.dead_letters.items():
            _count(self._counts.dead_lettered, reason, number)
        if self._condemned:
            for start, end in chunk.ranges:
                self._condemned.forget(chunk.partition.source, start, end)

    def _match_each(self, run: Run, outcomes: Sequence[Outcome]) -> tuple[Chunk, Failure | None]:
        messages, settled, handled, filtered = run.messages, 0, 0, 0
        records: list[Encoded] = []
        dead_letters: Counter[str] = Counter()
        stop = None
        for outcome in outcomes:
            match outcome:
                case Encoded():
                    handled += 1
                    records.append(outcome)
                case Done():
                    handled += 1
                    filtered += not outcome.records
                    records += outcome.records
                case DeadLetter(failure):
                    records.append(self._dead_letter(messages[settled], failure))
                    dead_letters[failure.reason] += 1
                case Skip(failure):
                    self._note("skipped", Message(messages[settled]), failure)
                    _count(self._counts.skipped, failure.reason, 1)
                case Stop(failure):
                    stop = failure
                    break
            settled += 1
        self._counts.handled += handled
        self._counts.filtered += filtered
        return self._chunk(run, outcomes, settled, records, dead_letters), stop

    def _chunk(
        self,
        run: Run,
        outcomes: Sequence[Outcome],
        settled: int,
        records: Sequence[Encoded],
        dead_letters: Counter[str],
    ) -> Chunk:
        ranges = run.partition.lanes.ranges(run.messages[:settled])
        told_apart = (run.messages, outcomes) if self.careful else ()
        return Chunk(run.partition, ranges, settled, records, dead_letters, *told_apart)

    def _judged(self, run: Run, outcomes: Sequence[Outcome]) -> list[Outcome]:
        judged = list(outcomes)
        for index, message in enumerate(run.messages[: len(judged)]):
            failure = self._condemned.failure(run.partition.source, message.offset())
            if failure is not None:
                judged[index] = decide(self._on_error, failure)
        return judged

    def _dead_letter(self, raw: RawMessage, failure: Failure) -> Encoded:
        message = Message(raw)
        self._note("dead-lettered", message, failure)
        target = self._settings.dead_letter
        assert target is not None  # noqa: S101 - `decide` gives dead letters only with a topic
        return dead_letter(
            message,
            failure,
            self._origin,
            topic=target.default,
            limit=self._limits[target.default],
            now=int(self._clock.time() * 1000),
            with_text=target.message,
            extra=self._observer.headers_for(raw, Encoded(target.default, None)),
        )

    def _note(self, what: str, message: Message, failure: Failure) -> None:
        why = f"{what}: {text_of(failure)}"
        self.given_up[why] += 1
        self.last_failure = f"{message!r} {why}"


def _have_one_result_each(outcomes: Sequence[Outcome]) -> TypeGuard[Sequence[Encoded]]:
    """Whether there is nothing to tell apart, as in most runs."""
    return {*map(type, outcomes)} == {Encoded}


def text_of(failure: Failure) -> str:
    """What is told of a failure: never text that may hold payload."""
    text = f": {failure.text}" if failure.harmless else ""
    return f"{failure.reason} {failure.error}".strip() + text


def _count(counts: dict[str, int], reason: str, number: int) -> None:
    counts[reason] = counts.get(reason, 0) + number
