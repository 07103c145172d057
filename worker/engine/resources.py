"""Resources: set up before the first poll, torn down after the drain."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from worker.engine.pool import LoopThread
from worker.errors import WorkerError
from worker.handlers import Resource

log = logging.getLogger(__name__)


class ResourceFailed(WorkerError):
    """A resource could not be set up."""


class Resources:
    """What resources have yielded, by name; one of each in a process."""

    def __init__(self, wanted: Sequence[Resource], loop: LoopThread) -> None:
        self._wanted = wanted
        self._loop = loop
        self.values: dict[str, Any] = {}
        self._tear_downs: list[tuple[str, Callable[[], Any]]] = []

    def set_up(self) -> None:
        """Run each resource up to its yield, in order; raises `ResourceFailed`."""
        for resource in self._wanted:
            given = {name: self.values[name] for name in resource.resources}
            try:
                yielded = self._enter(resource.name, resource.function(**given))
            except Exception as error:
                self.tear_down()
                raise _failed(resource, f"{type(error).__name__}: {error}") from error
            if not yielded:
                self.tear_down()
                raise _failed(resource, "it did not yield")

    def tear_down(self) -> None:
        """Run what follows the yields, last resource first; errors are logged."""
        while self._tear_downs:
            name, finish = self._tear_downs.pop()
            try:
                finish()
            except Exception:
                log.exception("resource %s could not be torn down", name)

    def _enter(self, name: str, generator: Iterator[Any] | AsyncIterator[Any]) -> bool:
        """Run a generator up to its yield; whether it has one."""
        if isinstance(generator, Iterator):
            sync = generator
            value = next(sync, _NOTHING)
            self._tear_downs.append((name, lambda: next(sync, None)))
        else:
            stepped = generator
            value = self._loop.spawn(_step(stepped, _NOTHING)).result()
            self._tear_downs.append((name, lambda: self._loop.spawn(_step(stepped, None)).result()))
        self.values[name] = value
        return value is not _NOTHING


async def _step(generator: AsyncIterator[Any], default: object) -> Any:
    return await anext(generator, default)


def _failed(resource: Resource, reason: str) -> ResourceFailed:
    return ResourceFailed(
        f"resource {resource.name} ({resource.where}) could not be set up: {reason}"
    )


_NOTHING: Final = object()
"""What a generator that yields nothing is taken to have yielded."""
