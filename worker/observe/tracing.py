"""Trace context that goes from a message to what results from it, and who follows messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from worker.errors import BadEnvironment
from worker.observe import semconv
from worker.observe.environment import W3C, exporter_names, is_disabled, propagator_names
from worker.observe.semconv import Attributes
from worker.ports import Consumer, Observer, Transactional
from worker.types import Encoded, Headers, RawMessage, each, headers_of

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
CONTEXT: Final = frozenset({PARENT, STATE})
"""Header names of the W3C recommendation Trace Context."""

UNFOLLOWED: Final = int.from_bytes(os.urandom(16))
"""The trace of whatever handlers begin for messages that are not followed: it is never recorded.

Others may record what they do for it, so each process has one of its own.
"""

NOT_MADE: Final = "spans cannot be made as OTEL_* variables say"

_MEANS_NOTHING_ALONE: Final = frozenset({STATE})

Incoming = Literal["link", "parent"]
T = TypeVar("T")


class TraceContext(Observer):
    """Passes the trace context on; a record that has one of its own keeps it.

    `names` are those of the headers that hold it, in lower case.
    """

    def __init__(self, names: Collection[str] = CONTEXT) -> None:
        self._names = names

    def headers_for(self, raw: RawMessage, record: Encoded) -> Headers:
        """See `ports.Observer`; of headers that repeat the last one counts."""
        inherited = headers_of(raw)
        if not inherited or self._has_context(record):
            return record.headers
        added = self._context_in(inherited)
        return [*record.headers, *added] if record.headers else added

    def added(self, raws: Sequence[RawMessage]) -> Sequence[Headers]:
        """See `ports.Observer`; a message without headers has no context."""
        try:
            if not any(each("headers", raws)):
                return ()
        except SystemError:  # see `headers_of`
            pass
        return [self._context_in(headers) if headers else () for headers in headers_of_each(raws)]

    def _has_context(self, record: Encoded) -> bool:
        return any(name.lower() in self._names for name, _ in record.headers)

    def _context_in(self, headers: Headers) -> Headers:
        names = self._names
        context = {name: value for name, value in headers if name.lower() in names}
        return list(context.items()) if context.keys() - _MEANS_NOTHING_ALONE else ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the spans of a pipeline have in common."""

    pipeline: str
    group: str
    handler: str
    client: str
    brokers: Sequence[str]
    incoming: Incoming = "link"
    """Whether what a producer has begun is linked to, or gone on with."""
    limit: float = 50.0
    """Messages a second that are followed at most."""

    @property
    def server(self) -> Attributes:
        """The first of the brokers that are asked first."""
        host, _, port = self.brokers[0].rpartition(":") if self.brokers else ("", "", "")
        if not host or not port.isdecimal():
            return {}
        return {semconv.SERVER: host.strip("[]"), semconv.SERVER_PORT: int(port)}


def _as_it_is(client: T) -> T:
    return client


@dataclass(frozen=True, slots=True)
class Watching:
    """How a pipeline is watched: beside its engine, and around its clients."""

    observer: Observer
    consumer: Callable[[Consumer], Consumer] = _as_it_is
    transactional: Callable[[Transactional], Transactional] = _as_it_is


class Tracers:
    """Makes what watches pipelines; one for a process. Here nobody wants spans.

    Then contexts are passed on, and nothing of OpenTelemetry's is loaded, but for propagators that
    the environment names.
    """

    def __init__(self, names: Collection[str] = CONTEXT) -> None:
        self._names = names

    def watching(self, facts: Facts) -> Watching:  # noqa: ARG002
        """What watches a pipeline."""
        return Watching(TraceContext(self._names))

    def close(self) -> None:
        """Export what is left, as far as there is time."""


def tracers(name: str) -> Tracers:
    """The tracers of a process, by its environment; raises `BadEnvironment`.

    `name` is that of the service where the environment gives none.
    """
    environment = os.environ
    nobody = Tracers(context_names(environment))
    if is_disabled(environment):
        return nobody
    if not exporter_names(environment, "traces") and "opentelemetry.sdk.trace" not in sys.modules:
        return nobody
    try:
        from worker.observe.provider import made  # noqa: PLC0415 - takes a tenth of a second
    except ValueError as error:  # the SDK looks at a limit when it is imported
        raise BadEnvironment(f"{NOT_MADE}: {error}") from error

    return made(name) or nobody


def context_names(environment: Mapping[str, str]) -> Collection[str]:
    """Names of the headers that hold a context, as the environment says; in lower case."""
    if propagator_names(environment) == W3C:
        return CONTEXT
    from worker.observe.propagation import agreed  # noqa: PLC0415 - as the provider

    return agreed(environment).names


def headers_of_each(raws: Sequence[RawMessage]) -> Sequence[Headers | None]:
    try:
        return list(each("headers", raws))
    except SystemError:  # see `headers_of`
        return [headers_of(raw) for raw in raws]
