"""Trace context in the headers of records: the W3C's, read by hand, or what was agreed on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Final, Protocol

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from worker.errors import BadEnvironment
from worker.flow.headers import LINKED
from worker.observe import environment
from worker.observe.tracing import CONTEXT, PARENT, STATE
from worker.types import Headers

_PARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?",
    re.DOTALL,
)
_SAMPLED: Final = frozenset([*b"13579bdf", *"13579bdf"])
_FLAGS_AT: Final = 54
"""Where the digit of a `traceparent` is that says whether it is sampled."""
_TRACE: Final = slice(3, 35)
"""Where its trace is."""
EMPTY: Final = Context()
_B3: Final = frozenset(
    ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")
)
"""Headers of which the propagators of B3 write some and read all."""

_TELLING: Final = (
    "opentelemetry.baggage.propagation",
    "opentelemetry.trace.propagation.tracecontext",
    "opentelemetry.trace.span",
)
"""Loggers of the API that warn of what is ill-formed: at each message, and with its content."""


class Propagation(Protocol):
    """How contexts are read from headers and written to them."""

    names: frozenset[str]
    """Headers that hold a context, in lower case."""

    def sampled(self, records: Iterable[Headers | None]) -> tuple[list[int], list[int]]:
        """The places of records whose context is sampled, and of those that have no context."""

    def read(self, headers: Headers) -> Context:
        """The context of a record; an empty one where it has none."""

    def write(self, context: Context) -> Headers:
        """The headers that say this context."""

    def trace_of(self, headers: Headers) -> str | bytes | int | None:
        """What tells the trace of a record from others; None where it has none."""

    def replaced(self, headers: Headers, context: Context) -> Headers:
        """The headers of a record with this context instead of any other."""
        kept = [header for header in headers if header[0].lower() not in self.names]
        return [*kept, *self.write(context)]


class W3C(Propagation):
    """The W3C's recommendation Trace Context; of headers that repeat the last one counts."""

    names = CONTEXT

    def sampled(self, records: Iterable[Headers | None]) -> tuple[list[int], list[int]]:
        """See `Propagation`; it looks at one digit, since most records are not sampled."""
        sampled: list[int] = []
        without: list[int] = []
        for place, headers in enumerate(records):
            parent = None
            for name, value in headers or ():
                if name == PARENT:
                    parent = value
            if parent is None or len(parent) <= _FLAGS_AT:
                without.append(place)
            elif parent[_FLAGS_AT] in _SAMPLED:
                (sampled if _PARENT.fullmatch(_bytes(parent)) else without).append(place)
        return sampled, without

    def read(self, headers: Headers) -> Context:
        """See `Propagation`."""
        known = dict(headers)
        found = _PARENT.fullmatch(_bytes(known.get(PARENT)))
        if found is None:
            return EMPTY
        trace, span, flags = (int(part, 16) for part in found.groups())
        state = _state(_bytes(known.get(STATE)))
        return set_span_in_context(
            NonRecordingSpan(
                SpanContext(
                    trace, span, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state
                )
            ),
            EMPTY,
        )

    def write(self, context: Context) -> Headers:
        """See `Propagation`."""
        span = get_current_span(context).get_span_context()
        parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
        headers = [(PARENT, parent.encode())]
        if span.trace_state:
            headers.append((STATE, span.trace_state.to_header().encode()))
        return headers

    def trace_of(self, headers: Headers) -> bytes | None:
        """See `Propagation`."""
        parent = dict(headers).get(PARENT)
        return None if parent is None else _bytes(parent)[_TRACE]


class Agreed(Propagation):
    """Whatever `OTEL_PROPAGATORS` names, such as `b3`, and `baggage` where that is asked for."""

    def __init__(self, propagator: TextMapPropagator) -> None:
        self._propagator = propagator
        fields = frozenset(name.lower() for name in propagator.fields)
        self.names = fields | _B3 if fields & _B3 else fields

    def sampled(self, records: Iterable[Headers | None]) -> tuple[list[int], list[int]]:
        """See `Propagation`."""
        sampled: list[int] = []
        without: list[int] = []
        for place, headers in enumerate(records):
            span = get_current_span(self.read(headers or ())).get_span_context()
            if not span.is_valid:
                without.append(place)
            elif span.trace_flags.sampled:
                sampled.append(place)
        return sampled, without

    def read(self, headers: Headers) -> Context:
        """See `Propagation`."""
        carrier = {
            name.lower(): _bytes(value).decode("utf-8", "replace") for name, value in headers
        }
        return self._propagator.extract(carrier, EMPTY)

    def write(self, context: Context) -> Headers:
        """See `Propagation`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context)
        return [(name, value.encode()) for name, value in carrier.items()]

    def trace_of(self, headers: Headers) -> int | None:
        """See `Propagation`."""
        return get_current_span(self.read(headers)).get_span_context().trace_id or None


def linked(context: Context, to: str) -> Context:
    """The same context, whose state names the span that its trace is linked to; see `named`.

    It goes with the trace, so the last of its records tells of the message as well.
    """
    span = get_current_span(context).get_span_context()
    known = span.trace_state
    state = (known.delete(LINKED) if LINKED in known else known).add(LINKED, to)
    told = SpanContext(
        span.trace_id,
        span.span_id,
        is_remote=False,
        trace_flags=span.trace_flags,
        trace_state=state,
    )
    return set_span_in_context(NonRecordingSpan(told), context)


def named(span: SpanContext) -> str | None:
    """What names a span in a state; None where there is none."""
    return f"{span.trace_id:032x}-{span.span_id:016x}" if span.is_valid else None


def agreed(variables: Mapping[str, str]) -> Propagation:
    """The propagation of a process, by what `OTEL_PROPAGATORS` says; raises `BadEnvironment`."""
    for name in _TELLING:
        logging.getLogger(name).setLevel(logging.ERROR)
    wanted = environment.propagator_names(variables)
    if wanted == environment.W3C:
        return W3C()
    installed = {"none", *(one.name for one in entry_points(group="opentelemetry_propagator"))}
    unknown = ", ".join(map(repr, sorted(wanted - installed)))
    if unknown:
        legal = ", ".join(sorted(installed))
        raise BadEnvironment(f"OTEL_PROPAGATORS names {unknown}; installed are {legal}")
    try:
        from opentelemetry import propagate  # noqa: PLC0415 - it loads what is named
    except Exception as error:
        raise BadEnvironment(f"OTEL_PROPAGATORS cannot be followed: {error}") from error
    return Agreed(propagate.get_global_textmap())


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _state(value: bytes) -> TraceState:
    return TraceState.from_header([value.decode("ascii", "replace")]) if value else TraceState()
