"""Where spans go: what OpenTelemetry's standard variables say, made of the SDK alone."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from worker.errors import BadEnvironment
from worker.observe import semconv
from worker.observe.clients import followed_consumer, followed_transactional
from worker.observe.exporters import exporters_of, resource_of
from worker.observe.propagation import agreed
from worker.observe.sampling import ByMessage, gate_of
from worker.observe.spans import Spans
from worker.observe.tracing import NOT_MADE, Facts, Tracers, Watching
from worker.version import __version__

log = logging.getLogger(__name__)

LINKS: Final = 1_000
"""Links of a span at most, where `OTEL_SPAN_LINK_COUNT_LIMIT` says nothing."""
FLUSH_WITHIN: Final = 5.0
"""Seconds for what has not been exported when the process ends."""


class _Provider(TracerProvider):
    """One that ends with the worker; others are those of users."""


@dataclass(frozen=True, slots=True)
class Provided(Tracers):
    """Spans go to a provider."""

    provider: TracerProvider

    def watching(self, facts: Facts) -> Watching:
        """See `Tracers`."""
        environment, sampler = os.environ, self.provider.sampler
        tracer = self.provider.get_tracer("stream-worker", __version__, semconv.SCHEMA_URL)
        if isinstance(tracer, Tracer):
            tracer.sampler = ByMessage(sampler)
        spans = Spans(
            tracer,
            gate_of(sampler),
            agreed(environment),
            facts,
            older_names=semconv.wants_older(environment.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")),
        )
        return Watching(
            spans,
            partial(followed_consumer, spans=spans),
            partial(followed_transactional, spans=spans),
        )

    def close(self) -> None:
        """See `Tracers`; it takes `FLUSH_WITHIN` seconds at most."""
        ours = isinstance(self.provider, _Provider)
        end = self.provider.shutdown if ours else self.provider.force_flush
        thread = threading.Thread(target=end, name="flush-spans", daemon=True)
        thread.start()
        thread.join(FLUSH_WITHIN)
        if thread.is_alive():
            log.warning("not all spans were exported within %g s", FLUSH_WITHIN)


def made(name: str) -> Tracers | None:
    """The tracers of a process; None where nobody wants spans.

    What users have set up as the global provider is used as it is. Else ours becomes the global
    one, so that spans which handlers begin go the same way.
    """
    known = trace.get_tracer_provider()
    if isinstance(known, TracerProvider):
        return Provided(known)
    environment = os.environ
    exporters: Sequence[SpanExporter] = exporters_of("traces", environment)
    if not exporters:
        return None
    provider = provider_for(name, exporters)
    trace.set_tracer_provider(provider)
    return None if _is_off(provider) else Provided(provider)


def provider_for(name: str, exporters: Sequence[SpanExporter]) -> TracerProvider:
    """A provider with these exporters and everything else as the environment says.

    Raises `BadEnvironment`.
    """
    try:
        provider = _Provider(
            resource=resource_of(name), span_limits=_limits(os.environ), shutdown_on_exit=False
        )
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    except ValueError as error:
        raise BadEnvironment(f"{NOT_MADE}: {error}") from error
    return provider


def _limits(environment: Mapping[str, str]) -> SpanLimits:
    limits: dict[str, Any] = {}
    if not environment.get("OTEL_SPAN_LINK_COUNT_LIMIT"):
        limits["max_links"] = LINKS
    return SpanLimits(**limits)


def _is_off(provider: TracerProvider) -> bool:
    return provider.sampler.get_description() == ALWAYS_OFF.get_description()
