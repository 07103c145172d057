"""Where spans go: what OpenTelemetry's standard variables say, made of the SDK alone."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Final, cast

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from worker.errors import BadEnvironment
from worker.observe import semconv
from worker.observe.clients import followed_consumer, followed_transactional
from worker.observe.propagation import agreed
from worker.observe.sampling import ByMessage, gate_of
from worker.observe.spans import Spans
from worker.observe.tracing import EXPORTER, Facts, Tracers, Watching, exporter_names
from worker.version import __version__

log = logging.getLogger(__name__)

LINKS: Final = 1_000
"""Links of a span at most, where `OTEL_SPAN_LINK_COUNT_LIMIT` says nothing."""
FLUSH_WITHIN: Final = 5.0
"""Seconds for what has not been exported when the process ends."""

_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_TRACES_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
_OTLP: Final = {
    "http/protobuf": ("otlp_proto_http", "stream-worker[otlp]"),
    "grpc": ("otlp_proto_grpc", "stream-worker[otlp-grpc]"),
}
"""By protocol, the name of the exporter and what to install for it."""


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
            agreed(propagate.get_global_textmap(), environment.get("OTEL_PROPAGATORS", "")),
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
    exporters = [exporter_of(one, environment) for one in exporter_names(environment)]
    if not exporters:
        return None
    provider = provider_for(name, exporters)
    trace.set_tracer_provider(provider)
    return None if _is_off(provider) else Provided(provider)


def provider_for(name: str, exporters: Sequence[SpanExporter]) -> TracerProvider:
    """A provider with these exporters and everything else as the environment says."""
    provider = _Provider(
        resource=_resource(name), span_limits=_limits(os.environ), shutdown_on_exit=False
    )
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def exporter_of(name: str, environment: Mapping[str, str]) -> SpanExporter:
    """Make an exporter; raises `BadEnvironment` where it is not known or not installed."""
    install = None
    if name == "otlp":
        variable = _TRACES_PROTOCOL if environment.get(_TRACES_PROTOCOL) else _PROTOCOL
        protocol = environment.get(variable) or "http/protobuf"
        if protocol not in _OTLP:
            legal = " or ".join(_OTLP)
            raise BadEnvironment(f"{variable} is {protocol!r}; it can be {legal}")
        name, install = _OTLP[protocol]
    found = {point.name: point for point in entry_points(group="opentelemetry_traces_exporter")}
    if name not in found and install is not None:
        raise BadEnvironment(f"spans cannot be exported over {protocol}: pip install '{install}'")
    if name not in found:
        legal = ", ".join(sorted({"otlp", "none", *found}))
        raise BadEnvironment(f"{EXPORTER} names {name!r}; installed are {legal}")
    try:
        return cast("SpanExporter", found[name].load()())
    except Exception as error:
        raise BadEnvironment(f"the exporter {name} cannot be made: {error}") from error


def _resource(name: str) -> Resource:
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: name}))
    return resource


def _limits(environment: Mapping[str, str]) -> SpanLimits:
    limits: dict[str, Any] = {}
    if not environment.get("OTEL_SPAN_LINK_COUNT_LIMIT"):
        limits["max_links"] = LINKS
    return SpanLimits(**limits)


def _is_off(provider: TracerProvider) -> bool:
    return provider.sampler.get_description() == ALWAYS_OFF.get_description()
