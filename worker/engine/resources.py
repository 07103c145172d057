"""Resources: set up before the first poll, torn down after the drain."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

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
                self._enter(resource.name, resource.function(**given))
            except Exception as error:
                self.tear_down()
                raise ResourceFailed(
                    f"resource {resource.name} ({resource.where}) could not be set up: "
                    f"{type(error).__name__}: {error}"
                ) from error

    def tear_down(self) -> None:
        """Run what follows the yields, last resource first; errors are logged."""
        while self._tear_downs:
            name, finish = self._tear_downs.pop()
            try:
                finish()
            except Exception:
                log.exception("resource %s could not be torn down", name)

    def _enter(self, name: str, generator: Iterator[Any] | AsyncIterator[Any]) -> None:
        if isinstance(generator, Iterator):
            sync = generator
            self.values[name] = next(sync)
            self._tear_downs.append((name, lambda: next(sync, None)))
        else:
            stepped = generator
            self.values[name] = self._loop.spawn(_step(stepped)).result()
            self._tear_downs.append((name, lambda: self._loop.spawn(_step(stepped, None)).result()))


async def _step(generator: AsyncIterator[Any], *default: Any) -> Any:
    return await anext(generator, *default)
