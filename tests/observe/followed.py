"""Spans kept in memory, and a pipeline whose messages are followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanContext

from tests.engine.rig import Rig
from worker.observe.provider import Provided
from worker.observe.tracing import Facts, Incoming, Watching
from worker.types import Headers

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED: Headers = [("traceparent", f"00-{TRACE}-{PARENT}-01".encode())]
UNSAMPLED: Headers = [("traceparent", f"00-{TRACE}-{PARENT}-00".encode())]
FACTS = Facts("pipeline", "test.pipeline", "handler", "client", ("broker:9092",))
ONLY_SAMPLED = ParentBased(TraceIdRatioBased(0.0))
"""Follows what a producer has begun, and nothing else."""


@dataclass
class Followed:
    """What watches a pipeline, and the spans of it that have ended."""

    incoming: Incoming = "link"
    sampler: Sampler = ONLY_SAMPLED
    links: int = 1_000
    limit: float = 1_000.0
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.provider = TracerProvider(
            sampler=self.sampler,
            span_limits=SpanLimits(max_links=self.links),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def watching(self) -> Watching:
        return Provided(self.provider).watching(
            replace(FACTS, incoming=self.incoming, limit=self.limit)
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def rig(
    followed: Followed, function: Any, settings: Mapping[str, Any] | None = None, **more: Any
) -> Rig:
    """A pipeline on the memory broker, its clients followed as well."""
    watching = followed.watching()
    made = Rig(function, settings or {}, observer=watching.observer, **more)
    consumer, transactional = made._clients.consumer, made._clients.transactional
    made._clients = replace(
        made._clients,
        consumer=lambda: watching.consumer(consumer()),
        transactional=None
        if transactional is None
        else lambda *, alone: watching.transactional(transactional(alone=alone)),
    )
    made.join_again()
    return made


def context(span: ReadableSpan) -> SpanContext:
    found: SpanContext | None = span.context
    assert found is not None
    return found


def traceparent(span: ReadableSpan) -> bytes:
    found = context(span)
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}".encode()


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}
