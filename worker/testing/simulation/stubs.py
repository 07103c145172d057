"""Handlers that return what their messages say, and results that say what they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any, Final

from worker.app.checks import HEADER
from worker.flow.later import history_of
from worker.handlers import Handler, Lane, Registry
from worker.settings import Spec
from worker.settings.topics import is_retry_topic
from worker.testing.calls import pipeline_at_hand
from worker.testing.watched import MESSAGE, messages_of, taken
from worker.types import Message, Record

RESULTS: Final = "simulated.results"
"""The header that says how many results a message has."""
OF: Final = "simulated.of"
"""The header of a result that says of which message of which pipeline it is, and which of it."""

Place = tuple[str, int, int]
"""Where a message was read first: topic, partition and offset."""
OnResults = Callable[[Message, int], object]
"""What is told how many results a handler has returned for a message."""


def place_of(message: Message) -> Place:
    """Where a message was read first."""
    if not is_retry_topic(message.topic):  # as most are
        return message.topic, message.partition, message.offset
    history = history_of(message)
    return history.topic, history.partition, history.offset


def stubbed(spec: Spec) -> Registry:
    """A handler for each that a spec names, and lanes by the key for each of its functions."""
    found = Registry()
    for pipeline in spec.pipelines.values():
        if pipeline.handler not in found.handlers:
            one = _results if pipeline.to is not None else _nothing
            made = one if pipeline.batch is None else _of_each(one)
            found.handler(made, batch=pipeline.batch, name=pipeline.handler)
        if pipeline.lane != "key" and not pipeline.lane.startswith(HEADER):
            found.lanes[pipeline.lane] = Lane(pipeline.lane, _key, __name__)
    return found


def _results(message: Message) -> list[bytes]:
    results = int(dict(message.headers).get(RESULTS) or b"1")
    return [b"%d" % number for number in range(results)]


def _nothing(message: Message) -> None:
    """Handle a message that has no results."""


def _of_each(one: Callable[[Message], Any]) -> Callable[[list[Message]], list[Any]]:
    def each(messages: list[Message]) -> list[Any]:
        return [one(message) for message in messages]

    return each


def _key(message: Message) -> bytes | None:
    return message.key


def marked(registry: Registry, on_results: OnResults) -> Registry:
    """The same handlers, whose results say what they are of, and how many there are is told."""
    handlers = {name: _marked(one, on_results) for name, one in registry.handlers.items()}
    return replace(registry, handlers=handlers)


def _marked(handler: Handler, on_results: OnResults) -> Handler:
    of = messages_of(handler)

    def mark(messages: Sequence[Message], result: Any) -> Any:
        if handler.batch is None:
            return _told(messages[0], result, on_results)
        each = repeat(None, len(messages)) if result is None else result
        return [
            one if isinstance(one, BaseException) else _told(message, one, on_results)
            for message, one in zip(messages, each, strict=True)
        ]

    def call(payload: Any, **given: Any) -> Any:
        messages, given = taken(handler.message, of, given)
        return mark(messages, handler.function(payload, **given))

    async def call_async(payload: Any, **given: Any) -> Any:
        messages, given = taken(handler.message, of, given)
        return mark(messages, await handler.function(payload, **given))

    function = call_async if handler.is_async else call
    return replace(handler, function=function, message=handler.message or MESSAGE)


def _told(message: Message, result: Any, on_results: OnResults) -> list[Record]:
    topic, partition, offset = place_of(message)
    place = f"{pipeline_at_hand()}/{topic}/{partition}/{offset}"
    found = [
        _with_header(one, f"{place}/{number}".encode())
        for number, one in enumerate(_each(result))
        if one is not None
    ]
    on_results(message, len(found))
    return found


def _each(result: Any) -> Iterable[Any]:
    return result if isinstance(result, list | tuple | Iterator) else [result]


def _with_header(result: Any, of: bytes) -> Record:
    if isinstance(result, Record):
        return replace(result, headers=[*result.headers, (OF, of)])
    return Record(result, headers=[(OF, of)])


def result_of(message: Message) -> tuple[str, Place, int] | None:
    """The pipeline and the message that a record is a result of, and which of its results."""
    found = dict(message.headers).get(OF)
    if found is None:
        return None
    pipeline, topic, partition, offset, number = found.decode().split("/")
    return pipeline, (topic, int(partition), int(offset)), int(number)
