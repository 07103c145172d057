"""What handles the messages of a pipeline, in this process or in those of a process pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from worker.engine.execute import Executor
from worker.engine.pool import LoopThread
from worker.engine.resources import Resources
from worker.engine.results import Results
from worker.errors import WorkerError
from worker.flow.redaction import NOTHING_KNOWN, Redaction
from worker.handlers import REGISTRY, Handler, load
from worker.observe.tracing import Facts, tracers
from worker.ports import Observer
from worker.serdes import SERDES, decoder
from worker.settings import Pipeline
from worker.types import Message


def decoder_of(pipeline: Pipeline, handler: Handler) -> Callable[[bytes | None], object] | None:
    """What makes a handler's payload; None where it takes the message. Raises `Unsuitable`."""
    if handler.payload is Message:
        return None
    return decoder(SERDES[pipeline.decode], handler.payload)


def executor_of(
    name: str,
    pipeline: Pipeline,
    handler: Handler,
    limits: Mapping[str, int],
    partitions: Callable[[str, int], int],
    observer: Observer,
    resources: Mapping[str, Any],
    monotonic: Callable[[], float] = monotonic,
    redacted: Redaction = NOTHING_KNOWN,
) -> Executor:
    """What decodes, calls the handler and encodes, as the pipeline says."""
    return Executor(
        handler,
        decoder_of(pipeline, handler),
        Results(
            SERDES[pipeline.encode].encode,
            pipeline.to,
            limits,
            partitions,
            observer,
            pipeline.timestamps == "source",
        ),
        pipeline.retry,
        pipeline.dead_letter,
        pipeline.ordering == "partition",
        resources,
        pipeline.timeout,
        pipeline.breaker,
        name,
        monotonic,
        redacted,
    )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Makes the executor of a pipeline in another process, from the modules of handlers."""

    modules: tuple[str, ...]
    path: tuple[str, ...]
    pipeline: Pipeline
    facts: Facts
    """What spans say of the pipeline."""
    service: str
    """Their service, where the environment names none."""
    prepare: Callable[[], object]
    redacted: Redaction = NOTHING_KNOWN
    """Takes secrets out of what failures say."""

    def __call__(
        self, limits: Mapping[str, int], partitions: Callable[[str, int], int]
    ) -> tuple[Executor, Callable[[], None]]:
        """Set its resources up; returns it with what tears them down. Raises `WorkerError`."""
        self.prepare()
        problems = load(self.modules, self.path)
        if problems:
            raise WorkerError("; ".join(f"{one.module}: {one.text}" for one in problems))
        handler = REGISTRY.handlers.get(self.pipeline.handler)
        if handler is None:
            raise WorkerError(f"no module of `handlers` has the handler {self.pipeline.handler!r}")
        resources = Resources(REGISTRY.needed(handler.resources), LoopThread())
        resources.set_up()
        spans = tracers(self.service)
        executor = executor_of(
            self.facts.pipeline,
            self.pipeline,
            handler,
            limits,
            partitions,
            spans.watching(self.facts).observer,
            resources.values,
            redacted=self.redacted,
        )

        def tear_down() -> None:
            resources.tear_down()
            spans.close()

        return executor, tear_down
