"""Where the handlers of pipelines run: threads, a loop or processes, as the spec says."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.app.execution import Recipe
from worker.engine.execute import Executor
from worker.engine.partition import POLL_LIMIT
from worker.engine.pool import AsyncPool, LoopThread, Pool
from worker.engine.processes import LONGEST, ProcessPool
from worker.engine.threads import ThreadPool, Watch
from worker.engine.topics import KnownTopics
from worker.handlers import Handler
from worker.ports import Observer
from worker.settings import Pipeline

ASYNC_CONCURRENCY = 1000
"""Async handlers in flight by default; with `ordering: partition` the partitions are the bound."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A pipeline, and what its runs need wherever they are handled."""

    name: str
    pipeline: Pipeline
    handler: Handler
    executor: Callable[[], Executor]
    """What handles them in this process."""
    recipe: Recipe
    """What makes that in another one."""
    observer: Observer

    @property
    def run_limit(self) -> int:
        """The batch; else all that there is, unless messages may be handled beside each other.

        Even these go to processes together: a crossing for each would cost more than many handlers.
        """
        if self.handler.batch is not None:
            return self.pipeline.batch or self.handler.batch
        if self.pipeline.pool == "process":
            return LONGEST
        return POLL_LIMIT if self.pipeline.ordering == "partition" else 1


class Pools(Protocol):
    """Makes the pools of one process."""

    def shares_resources(self, pipeline: Pipeline) -> bool:
        """Whether handlers of a pipeline use the resources of this process."""

    def make(self, handled: Handled) -> Pool:
        """Make the pool of a pipeline."""

    def make_apart(self, handled: Handled) -> Pool:
        """Make one for a single message at a time, which may end without the worker."""


class HandlerPools:
    """Implements `Pools`, as specs say."""

    def __init__(self, loop: LoopThread, topics: KnownTopics) -> None:
        self._loop = loop
        self._topics = topics
        self._watch = Watch()

    def shares_resources(self, pipeline: Pipeline) -> bool:
        """See `Pools`: each process of a process pool sets its own up."""
        return pipeline.pool != "process"

    def make(self, handled: Handled) -> Pool:
        """See `Pools`."""
        name, pipeline, size = handled.name, handled.pipeline, _cores(handled.pipeline)
        if pipeline.pool == "process":
            return self._processes(name, handled, size)
        executor = handled.executor()
        if handled.handler.is_async:
            size = pipeline.concurrency or ASYNC_CONCURRENCY
            return AsyncPool(name, self._loop, executor.execute_async, size)
        return ThreadPool(name, executor.execute, size, self._watch)

    def make_apart(self, handled: Handled) -> Pool:
        """See `Pools`: a process."""
        return self._processes(f"{handled.name}-apart", handled, 1)

    def _processes(self, name: str, handled: Handled, size: int) -> Pool:
        pipeline = handled.pipeline
        return ProcessPool(
            name,
            handled.recipe,
            self._topics,
            size,
            batch=None if handled.handler.batch is None else handled.run_limit,
            retry=pipeline.retry,
            timeout=pipeline.timeout,
            breaker=pipeline.breaker,
            observer=handled.observer,
        )


def _cores(pipeline: Pipeline) -> int:
    return pipeline.concurrency or os.cpu_count() or 1
