"""One message, or one batch, through decode, handler and encode to its outcome.

The only place where handlers of users are run, and the only one that catches whatever they raise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, repeat
from typing import Any, cast

from worker.engine.batches import Batch, told_of_each, wrong_result
from worker.engine.partition import Run
from worker.engine.raised import failure_of, text_of
from worker.engine.results import PLAIN, VALUES, BadResult, Results, exhausted
from worker.errors import Reject, Retry
from worker.flow.breaker import is_away
from worker.flow.redaction import NOTHING_KNOWN, Redaction
from worker.flow.retry import is_retried, too_late
from worker.flow.timing import Timed
from worker.handlers import Handler
from worker.ports import AT_HAND, Attempt
from worker.settings import BreakerSettings, DeadLetterSettings, RetrySettings
from worker.types import Failed, Failure, Message, Outcome, RawMessage, each

SLICE = 0.02
"""Seconds after which a run comes back with what it has, so that no result waits for long."""
TIMED = 16
"""Of so many runs it is measured of one how long decoding takes."""


class Overrun(TimeoutError):
    """An attempt was cancelled because it took longer than so many seconds."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        self.timeout = timeout


@dataclass(slots=True)
class Executor:
    """What a pipeline does with its messages; made once its resources are set up."""

    handler: Handler
    decode: Callable[[bytes | None], Any] | None
    """None where the handler takes the message itself."""
    results: Results
    retry: RetrySettings
    dead_letter: DeadLetterSettings | None
    in_order: bool
    """Whether no message may be handled before one that is to be tried again."""
    resources: Mapping[str, Any]
    timeout: float | None = None
    """Seconds after which an attempt of an async handler is cancelled."""
    breaker: BreakerSettings | None = None
    """What failures tell of a dependency."""
    pipeline: str = ""
    """The name of the pipeline, for the log."""
    monotonic: Callable[[], float] = time.monotonic
    redacted: Redaction = NOTHING_KNOWN
    """Takes secrets out of what failures say."""
    _call: Callable[..., Any] = field(init=False)
    _runs: int = field(init=False, default=0)
    """How many it was given; threads may miscount."""

    def __post_init__(self) -> None:
        """Give the function its resources and its time, once."""
        given = {name: self.resources[name] for name in self.handler.resources}
        self._call = partial(self.handler.function, **given) if given else self.handler.function
        if self.timeout is not None and self.handler.is_async:
            self._call = _limited(self._call, self.timeout)

    def execute(self, run: Run) -> list[Outcome]:
        """Handle a run; the outcomes are those of its first messages, of all if time allows."""
        self._runs += 1
        if self._runs % TIMED == 0 and self.decode is not None:
            decode = Timed(self.decode)
            outcomes = replace(self, decode=decode).execute(run)
            run.decoding = decode.seconds
            return outcomes
        run.begun = begun = self.monotonic()
        token = AT_HAND.set((self.pipeline, run))
        try:
            with self.results.observer.around():
                return self._executed(run, begun)
        finally:
            AT_HAND.reset(token)

    def _executed(self, run: Run, begun: float) -> list[Outcome]:
        follows = self.results.observer.follows
        if self.handler.batch is not None:
            return self._followed_batch(run) if follows else self._batch(run.messages)
        partition, monotonic = run.partition, self.monotonic
        found, deadline = run.found, begun + SLICE
        calls = self._calls(run) if follows else repeat(self._one)
        for one, raw in zip(calls, run.messages, strict=False):
            outcome, ended = one(raw), monotonic()
            found.append(outcome)
            if type(outcome) is Failed:
                found[-1] = outcome.after(ended - begun)
                if self._comes_first_again(outcome):
                    break
            if partition.closing or ended > deadline:
                break
            begun = ended
        return self._with_records(run.messages[: len(found)], found)

    async def execute_async(self, run: Run) -> list[Outcome]:
        """Do the same with an async handler."""
        self._runs += 1
        if self._runs % TIMED == 0 and self.decode is not None:
            decode = Timed(self.decode)
            outcomes = await replace(self, decode=decode).execute_async(run)
            run.decoding = decode.seconds
            return outcomes
        run.begun = begun = self.monotonic()
        token = AT_HAND.set((self.pipeline, run))
        try:
            with self.results.observer.around():
                return await self._executed_async(run, begun)
        finally:
            AT_HAND.reset(token)

    async def _executed_async(self, run: Run, begun: float) -> list[Outcome]:
        follows = self.results.observer.follows
        if self.handler.batch is not None:
            call = self._followed_batch_async(run) if follows else self._batch_async(run.messages)
            return await call
        outcomes, deadline = run.found, begun + SLICE
        calls = self._calls_async(run) if follows else repeat(self._one_async)
        for one, raw in zip(calls, run.messages, strict=False):
            outcome, ended = await one(raw), self.monotonic()
            outcomes.append(outcome)
            if type(outcome) is Failed:
                outcomes[-1] = outcome.after(ended - begun)
                if self._comes_first_again(outcome):
                    break
            if ended > deadline or run.partition.closing:
                break
            begun = ended
        return outcomes

    def _calls(self, run: Run) -> Iterable[Callable[[RawMessage], bytes | Outcome]]:
        """What handles each of the messages: the few that are followed have a call of their own."""
        attempts = self.results.observer.attempts(run.partition.source, run.messages[:])
        if not attempts:
            return repeat(self._one)
        calls: list[Callable[[RawMessage], bytes | Outcome]] = [self._one] * len(run.messages)
        for place, attempt in attempts.items():
            calls[place] = partial(self._followed, run, attempt)
        return calls

    def _followed(self, run: Run, attempt: Attempt, raw: RawMessage) -> Outcome:
        with attempt:
            found = self._one(raw)
            if isinstance(found, bytes):
                found = self._outcome(self.results.record, raw, found)
            attempt.tell([found])
        _note_context(run, attempt)
        return found

    def _followed_batch(self, run: Run) -> list[Outcome]:
        attempt = self.results.observer.batch(run.partition.source, run.messages)
        if attempt is None:
            return self._batch(run.messages)
        with attempt:
            outcomes = self._batch(run.messages)
            attempt.tell(outcomes)
        _note_context(run, attempt)
        return outcomes

    def _calls_async(
        self, run: Run
    ) -> Iterable[Callable[[RawMessage], Coroutine[Any, Any, Outcome]]]:
        attempts = self.results.observer.attempts(run.partition.source, run.messages[:])
        if not attempts:
            return repeat(self._one_async)
        calls: list[Callable[[RawMessage], Coroutine[Any, Any, Outcome]]]
        calls = [self._one_async] * len(run.messages)
        for place, attempt in attempts.items():
            calls[place] = partial(self._followed_async, run, attempt)
        return calls

    async def _followed_async(self, run: Run, attempt: Attempt, raw: RawMessage) -> Outcome:
        with attempt:
            found = await self._one_async(raw)
            attempt.tell([found])
        _note_context(run, attempt)
        return found

    async def _followed_batch_async(self, run: Run) -> list[Outcome]:
        attempt = self.results.observer.batch(run.partition.source, run.messages)
        if attempt is None:
            return await self._batch_async(run.messages)
        with attempt:
            outcomes = await self._batch_async(run.messages)
            attempt.tell(outcomes)
        _note_context(run, attempt)
        return outcomes

    def _one(self, raw: RawMessage) -> bytes | Outcome:
        """What becomes of a message; bytes are a result whose record is made later, with others.

        Encoded is it at once, since the handler may use again what it has returned.
        """
        try:
            payload = Message(raw) if self.decode is None else self.decode(raw.value())
        except Exception as error:  # noqa: BLE001 - decoders of users may raise anything
            return self._failed("undecodable", error)
        try:
            name = self.handler.message
            if name is None:
                result = self._call(payload)
            else:
                result = self._call(payload, **{name: Message(raw)})
            if type(result) not in PLAIN:
                result = exhausted(result)
        except BaseException as error:  # noqa: BLE001 - handlers may raise anything
            return self._raised(error)
        try:
            if type(result) in VALUES:
                return self.results.encode(result)
            return self.results.of(raw, result)
        except Exception as error:  # noqa: BLE001 - encoders of users may raise anything
            return self._unencodable(error)

    async def _one_async(self, raw: RawMessage) -> Outcome:
        try:
            payload = self._payload(raw)
        except Exception as error:  # noqa: BLE001 - decoders of users may raise anything
            return self._failed("undecodable", error)
        try:
            name = self.handler.message
            named = {} if name is None else {name: Message(raw)}
            result = exhausted(await self._call(payload, **named))
        except BaseException as error:  # noqa: BLE001 - handlers may raise anything
            return self._raised(error)
        return self._of(raw, result)

    def _batch(self, raws: Sequence[RawMessage]) -> list[Outcome]:
        batch = self._decoded(raws)
        if not batch.raws:
            return batch.outcomes_with([])
        begun = self.monotonic()
        try:
            result = exhausted(self._call(batch.payloads, **self._named(batch)))
        except BaseException as error:  # noqa: BLE001 - handlers may raise anything
            told = told_of_each(error, batch.raws)
            if told is None:
                return self._one_by_one(raws)
            result = told
        return batch.outcomes_with(self._spread(batch.raws, result, begun))

    def _one_by_one(self, raws: Sequence[RawMessage]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for raw in raws:
            outcomes += self._batch([raw])
            if self._comes_first_again(outcomes[-1]):
                break
        return outcomes

    async def _batch_async(self, raws: Sequence[RawMessage]) -> list[Outcome]:
        batch = self._decoded(raws)
        if not batch.raws:
            return batch.outcomes_with([])
        begun = self.monotonic()
        try:
            result = exhausted(await self._call(batch.payloads, **self._named(batch)))
        except BaseException as error:  # noqa: BLE001 - handlers may raise anything
            told = told_of_each(error, batch.raws)
            if told is None:
                return await self._one_by_one_async(raws)
            result = told
        return batch.outcomes_with(self._spread(batch.raws, result, begun))

    async def _one_by_one_async(self, raws: Sequence[RawMessage]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for raw in raws:
            outcomes += await self._batch_async([raw])
            if self._comes_first_again(outcomes[-1]):
                break
        return outcomes

    def _payload(self, raw: RawMessage) -> Any:
        return Message(raw) if self.decode is None else self.decode(raw.value())

    def _payloads(self, raws: Sequence[RawMessage]) -> list[Any]:
        return list(
            map(Message, raws) if self.decode is None else map(self.decode, each("value", raws))
        )

    def _named(self, batch: Batch) -> dict[str, list[Message]]:
        name = self.handler.message
        return {} if name is None else {name: list(map(Message, batch.raws))}

    def _decoded(self, raws: Sequence[RawMessage]) -> Batch:
        try:
            return Batch(list(raws), self._payloads(raws))
        except Exception:  # noqa: BLE001 - decoders of users may raise anything
            return self._decoded_one_by_one(raws)

    def _decoded_one_by_one(self, raws: Sequence[RawMessage]) -> Batch:
        batch = Batch()
        for index, raw in enumerate(raws):
            try:
                batch.payloads.append(self._payload(raw))
            except Exception as error:  # noqa: BLE001 - decoders of users may raise anything
                batch.undecodable[index] = self._failed("undecodable", error)
            else:
                batch.raws.append(raw)
        return batch

    def _spread(self, raws: Sequence[RawMessage], result: Any, begun: float) -> list[Outcome]:
        """What has become of each message of a call that was made then."""
        if result is None:
            result = [None] * len(raws)
        if not isinstance(result, list) or len(result) != len(raws):
            result = [wrong_result(result, len(raws))] * len(raws)
        took = self.monotonic() - begun
        try:
            values = {*map(type, result)} <= VALUES and list(map(self.results.encode, result))
        except Exception:  # noqa: BLE001 - encoders of users may raise anything
            values = False
        return self._with_records(raws, values or list(map(self._told, raws, result, repeat(took))))

    def _with_records(
        self, raws: Sequence[RawMessage], found: Sequence[bytes | Outcome]
    ) -> list[Outcome]:
        """The outcomes, of messages that resulted in one value with the record around it."""
        kinds = {*map(type, found)}
        if bytes not in kinds:
            return list(cast("Sequence[Outcome]", found))
        if kinds == {bytes}:
            return self._records(raws, cast("Sequence[bytes]", found))
        are_values = [type(one) is bytes for one in found]
        values = cast("list[bytes]", list(compress(found, are_values)))
        records = iter(self._records(list(compress(raws, are_values)), values))
        outcomes = [next(records) if type(one) is bytes else one for one in found]
        return cast("list[Outcome]", outcomes)

    def _records(self, raws: Sequence[RawMessage], values: Sequence[bytes]) -> list[Outcome]:
        records = self.results.records(raws, values)
        if records is not None:
            return records
        return [
            self._outcome(self.results.record, raw, value)
            for raw, value in zip(raws, values, strict=True)
        ]

    def _told(self, raw: RawMessage, result: Any, took: float) -> Outcome:
        """What a batch handler says of one message: its result, or why it has failed."""
        if isinstance(result, BaseException):
            return self._raised(result).after(took)
        return self._of(raw, result)

    def _of(self, raw: RawMessage, result: Any) -> Outcome:
        return self._outcome(self.results.of, raw, result)

    def _outcome(
        self, function: Callable[[RawMessage, Any], Outcome], raw: RawMessage, result: Any
    ) -> Outcome:
        try:
            return function(raw, result)
        except Exception as error:  # noqa: BLE001 - encoders of users may raise anything
            return self._unencodable(error)

    def _unencodable(self, error: Exception) -> Outcome:
        if isinstance(error, BadResult):
            return self._raised(error)
        return self._failed("unencodable", error)

    def _raised(self, error: BaseException) -> Failed:
        match error:
            case Reject():
                return Failed(self._failure("rejected", error, harmless=True))
            case BadResult():
                text = text_of(error, self.redacted)
                return Failed(Failure(error.reason, "", text, harmless=True))
            case Retry():
                failure = self._failure("handler_error", error)
                away = is_away(self.breaker, failure.reason, Retry)
                return Failed(failure, again=True, delay=error.delay, away=away)
            case Overrun():
                failure = too_late(error.timeout)
            case _:
                failure = self._failure("handler_error", error)
        again = is_retried(self.retry, failure.reason, type(error))
        return Failed(failure, again, away=is_away(self.breaker, failure.reason, type(error)))

    def _failed(self, reason: str, error: Exception) -> Failed:
        return Failed(self._failure(reason, error))

    def _failure(self, reason: str, error: BaseException, *, harmless: bool = False) -> Failure:
        target = self.dead_letter
        return failure_of(reason, error, target, harmless=harmless, redacted=self.redacted)

    def _comes_first_again(self, outcome: Outcome) -> bool:
        """Whether nothing may be handled before this message is tried again."""
        return isinstance(outcome, Failed) and (outcome.again or outcome.away) and self.in_order


def _note_context(run: Run, attempt: Attempt) -> None:
    if run.contexts is None:
        run.contexts = {}
    run.contexts.update(attempt.contexts)


def _limited(call: Callable[..., Awaitable[Any]], timeout: float) -> Callable[..., Awaitable[Any]]:
    """The call, cancelled after `timeout` seconds; one that returns all the same has its result."""

    async def limited(*arguments: Any, **named: Any) -> Any:
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                return await call(*arguments, **named)
        except TimeoutError as error:
            if scope.expired():
                raise Overrun(timeout) from error
            raise

    return limited
