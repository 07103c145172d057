"""One message, or one batch, through decode, handler and encode to its outcome.

The only place where code of users is run, and the only one that catches whatever it raises.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from worker.engine.partition import Run
from worker.engine.results import FILTERED, LEGAL, PLAIN, BadResult, Results, exhausted
from worker.errors import Reject
from worker.flow.retry import OnError, decide
from worker.handlers import Handler
from worker.types import Failure, Message, Outcome

SLICE = 0.02
"""Seconds after which a run comes back with what it has, so that no result waits for long."""


@dataclass(slots=True)
class Executor:
    """What a pipeline does with its messages; made once its resources are set up."""

    handler: Handler
    decode: Callable[[bytes | None], Any] | None
    """None where the handler takes the message itself."""
    results: Results
    on_error: OnError
    resources: Mapping[str, Any]
    _call: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        """Give the function its resources, once."""
        given = {name: self.resources[name] for name in self.handler.resources}
        self._call = partial(self.handler.function, **given) if given else self.handler.function

    def execute(self, run: Run) -> list[Outcome]:
        """Handle a run; the outcomes are those of its first messages, of all if time allows."""
        if self.handler.batch is not None:
            return self._batch(run.messages)
        outcomes: list[Outcome] = []
        one, partition, monotonic = self._one, run.partition, time.monotonic
        deadline = monotonic() + SLICE
        for message in run.messages:
            outcomes.append(one(message))
            if partition.closing or monotonic() > deadline:
                break
        return outcomes

    async def execute_async(self, run: Run) -> list[Outcome]:
        """Do the same with an async handler."""
        if self.handler.batch is not None:
            return await self._batch_async(run.messages)
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + SLICE
        for message in run.messages:
            outcomes.append(await self._one_async(message))
            if time.monotonic() > deadline or run.partition.closing:
                break
        return outcomes

    def _one(self, message: Message) -> Outcome:
        try:
            payload = message if self.decode is None else self.decode(message.value)
        except Exception as error:  # noqa: BLE001 - decoders of users may raise anything
            return self._failed("undecodable", error)
        try:
            name = self.handler.message
            result = self._call(payload) if name is None else self._call(payload, **{name: message})
            if type(result) not in PLAIN:
                result = exhausted(result)
        except BaseException as error:  # noqa: BLE001 - handlers may raise anything
            return self._raised(error)
        return self._concluded(message, result)

    async def _one_async(self, message: Message) -> Outcome:
        try:
            payload = self._payload(message)
        except Exception as error:  # noqa: BLE001 - decoders of users may raise anything
            return self._failed("undecodable", error)
        try:
            result = exhausted(await self._invoke(payload, message))
        except BaseException as error:  # noqa: BLE001 - handlers may raise anything
            return self._raised(error)
        return self._concluded(message, result)

    def _batch(self, messages: Sequence[Message]) -> list[Outcome]:
        outcomes, batch = self._decoded(messages)
        if batch:
            try:
                result = exhausted(self._invoke(*_columns(batch)))
            except BaseException as error:  # noqa: BLE001 - handlers may raise anything
                if len(batch) > 1:
                    return [outcome for one in messages for outcome in self._batch([one])]
                result = error
            self._spread(outcomes, batch, result)
        return [outcomes[index] for index in range(len(messages))]

    async def _batch_async(self, messages: Sequence[Message]) -> list[Outcome]:
        outcomes, batch = self._decoded(messages)
        if batch:
            try:
                result = exhausted(await self._invoke(*_columns(batch)))
            except BaseException as error:  # noqa: BLE001 - handlers may raise anything
                if len(batch) > 1:
                    return [
                        outcome for one in messages for outcome in await self._batch_async([one])
                    ]
                result = error
            self._spread(outcomes, batch, result)
        return [outcomes[index] for index in range(len(messages))]

    def _payload(self, message: Message) -> Any:
        return message if self.decode is None else self.decode(message.value)

    def _invoke(self, payload: Any, message: Any) -> Awaitable[Any] | Any:
        name = self.handler.message
        return self._call(payload) if name is None else self._call(payload, **{name: message})

    def _decoded(self, messages: Sequence[Message]) -> tuple[dict[int, Outcome], list[_Item]]:
        outcomes: dict[int, Outcome] = {}
        batch: list[_Item] = []
        for index, message in enumerate(messages):
            try:
                batch.append((index, message, self._payload(message)))
            except Exception as error:  # noqa: BLE001 - decoders of users may raise anything
                outcomes[index] = self._failed("undecodable", error)
        return outcomes, batch

    def _spread(self, outcomes: dict[int, Outcome], batch: list[_Item], result: Any) -> None:
        if isinstance(result, BaseException):
            ((index, _, _),) = batch
            outcomes[index] = self._raised(result)
            return
        if result is None:
            result = [None] * len(batch)
        if not isinstance(result, list) or len(result) != len(batch):
            wrong = _wrong_batch_result(result, len(batch))
            outcomes.update((index, self._raised(wrong)) for index, _, _ in batch)
            return
        for (index, message, _), one in zip(batch, result, strict=True):
            outcomes[index] = self._concluded(message, one)

    def _concluded(self, message: Message, result: Any) -> Outcome:
        if result is None:
            return FILTERED
        try:
            return self.results.of(message, result)
        except BadResult as bad:
            return self._raised(bad)
        except Exception as error:  # noqa: BLE001 - encoders of users may raise anything
            return self._failed("unencodable", error)

    def _raised(self, error: BaseException) -> Outcome:
        match error:
            case Reject():
                return decide(self.on_error, Failure("rejected", "Reject", _text(error), True))
            case BadResult():
                return decide(self.on_error, Failure(error.reason, "", _text(error), True))
            case _:
                return self._failed("handler_error", error)

    def _failed(self, reason: str, error: BaseException) -> Outcome:
        return decide(self.on_error, Failure(reason, type(error).__name__, _text(error)))


_Item = tuple[int, Message, Any]
"""Place in the batch, message, payload."""


def _text(error: BaseException) -> str:
    """What an exception says, fit for a header: its `__str__` is code of users, too."""
    try:
        text = str(error)
    except BaseException as failed:  # noqa: BLE001 - code of users may raise anything
        text = f"(its text cannot be had: {type(failed).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()


def _columns(batch: list[_Item]) -> tuple[list[Any], list[Message]]:
    return [payload for _, _, payload in batch], [message for _, message, _ in batch]


def _wrong_batch_result(result: Any, expected: int) -> BadResult:
    got = f"a list of {len(result)}" if isinstance(result, list) else type(result).__name__
    return BadResult(
        "unencodable",
        f"a batch handler returned {got} for {expected} messages; it returns None or a list with "
        f"one result for each message, of which {LEGAL}",
    )
