"""Handlers whose calls are told to whoever watches, before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from worker.handlers import Handler, Registry
from worker.testing.calls import pipeline_at_hand
from worker.types import Message

MESSAGE: Final = "watched message"
"""A parameter that no function can have."""


class Watcher(Protocol):
    """Told of calls of handlers."""

    def begins(self, pipeline: str, messages: Sequence[Message]) -> None:
        """A handler is about to be given these; what is raised here, the handler raises."""

    def ends(self, pipeline: str, messages: Sequence[Message]) -> None:
        """The handler has returned, or raised."""


def watched(registry: Registry, watcher: Watcher) -> Registry:
    """The same handlers, resources and lanes, with a watcher of the handlers."""
    handlers = {name: _watched(one, watcher) for name, one in registry.handlers.items()}
    return replace(registry, handlers=handlers)


def _watched(handler: Handler, watcher: Watcher) -> Handler:
    """A handler that is given its message as well, so that the watcher has it."""
    call = _calling_async if handler.is_async else _calling
    function = call(handler.function, handler.message, messages_of(handler), watcher)
    return replace(handler, function=function, message=handler.message or MESSAGE)


Of = Callable[[Any], Sequence[Message]]


def messages_of(handler: Handler) -> Of:
    """What makes the messages of a call of what it is given for them."""
    return list if handler.batch is not None else lambda message: [message]


def _calling(
    function: Callable[..., Any], message: str | None, of: Of, watcher: Watcher
) -> Callable[..., Any]:
    def call(payload: Any, **given: Any) -> Any:
        messages, given = taken(message, of, given)
        pipeline = pipeline_at_hand()
        try:
            watcher.begins(pipeline, messages)
            return function(payload, **given)
        finally:
            watcher.ends(pipeline, messages)

    return call


def _calling_async(
    function: Callable[..., Any], message: str | None, of: Of, watcher: Watcher
) -> Callable[..., Any]:
    async def call(payload: Any, **given: Any) -> Any:
        messages, given = taken(message, of, given)
        pipeline = pipeline_at_hand()
        try:
            watcher.begins(pipeline, messages)
            return await function(payload, **given)
        finally:
            watcher.ends(pipeline, messages)

    return call


def taken(
    message: str | None, of: Of, given: dict[str, Any]
) -> tuple[Sequence[Message], dict[str, Any]]:
    """The messages of a call, and what the function itself is given."""
    if message is not None:
        return of(given[message]), given
    return of(given.pop(MESSAGE)), given
