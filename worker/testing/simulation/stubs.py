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
from worker.testing.calls import partition_at_hand, pipeline_at_hand
from worker.testing.watched import MESSAGE, messages_of, taken
from worker.types import Message, Record, TopicPartition

RESULTS: Final = "simulated.results"
"""The header that says how many results a message has."""
MARK: Final = "simulated.mark"
"""The header of a result with its number among all that handlers have returned."""

Place = tuple[str, int, int]
"""Where a message was read first: topic, partition and offset."""
OnResults = Callable[[str, Place, int], int]
"""Told how many results a handler of a pipeline has returned for a message; returns the mark of the
first, after which those of the others follow."""


def place_of(message: Message) -> Place:
    """Where a message was read first."""
    if not is_retry_topic(message.topic):  # as most are
        return message.topic, message.partition, message.offset
    history = history_of(message)
    return history.topic, history.partition, history.offset


def places_of(source: TopicPartition, messages: Sequence[Message]) -> list[Place]:
    """Where messages of one partition were read first."""
    topic, partition = source
    if not is_retry_topic(topic):
        return [(topic, partition, message.offset) for message in messages]
    return [*map(place_of, messages)]


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
    """The same handlers, whose results are marked, and how many there are is told."""
    handlers = {name: _marked(one, on_results) for name, one in registry.handlers.items()}
    return replace(registry, handlers=handlers)


def _marked(handler: Handler, on_results: OnResults) -> Handler:
    of = messages_of(handler)

    def mark(messages: Sequence[Message], result: Any) -> Any:
        places = places_of(partition_at_hand().source, messages)
        if handler.batch is None:
            return _told(places[0], result, on_results)
        each = repeat(None, len(messages)) if result is None else result
        return [
            one if isinstance(one, BaseException) else _told(place, one, on_results)
            for place, one in zip(places, each, strict=True)
        ]

    def call(payload: Any, **given: Any) -> Any:
        messages, given = taken(handler.message, of, given)
        return mark(messages, handler.function(payload, **given))

    async def call_async(payload: Any, **given: Any) -> Any:
        messages, given = taken(handler.message, of, given)
        return mark(messages, await handler.function(payload, **given))

    function = call_async if handler.is_async else call
    return replace(handler, function=function, message=handler.message or MESSAGE)


def _told(place: Place, result: Any, on_results: OnResults) -> list[Record]:
    found = [one for one in _each(result) if one is not None]
    first = on_results(pipeline_at_hand(), place, len(found))
    return [_with_mark(one, b"%d" % mark) for mark, one in enumerate(found, first)]


def _each(result: Any) -> Iterable[Any]:
    return result if isinstance(result, list | tuple | Iterator) else [result]


def _with_mark(result: Any, mark: bytes) -> Record:
    if isinstance(result, Record):
        return replace(result, headers=[*result.headers, (MARK, mark)])
    return Record(result, headers=[(MARK, mark)])


def mark_of(message: Message) -> int | None:
    """The mark of a result; None for what is none. A handler may have passed on an older one."""
    found = dict(message.headers).get(MARK)
    return None if found is None else int(found)
