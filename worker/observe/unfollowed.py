"""What handlers find around messages that are not followed: a context in which nothing is recorded.

It is valid and not sampled, so a sampler that minds parents records nothing that begins in it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from opentelemetry.context import attach, detach
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from worker.observe.propagation import EMPTY, Propagation
from worker.observe.tracing import UNFOLLOWED
from worker.types import Headers

_CONTEXT: Final = set_span_in_context(
    NonRecordingSpan(SpanContext(UNFOLLOWED, 1, is_remote=False)), EMPTY
)


class Unfollowed(AbstractContextManager[None]):
    """Around calls for messages that are not followed."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = attach(_CONTEXT)

    def __exit__(self, *_: object) -> None:
        detach(self._token)


class Forgetting:
    """Takes that context out of headers that a handler has written it into: it says nothing."""

    def __init__(self, propagation: Propagation) -> None:
        written = propagation.write(_CONTEXT)
        self._trace_of = propagation.trace_of
        self._trace = propagation.trace_of(written)
        self._names = frozenset(name.lower() for name, _ in written)

    def __call__(self, headers: Headers) -> Headers:
        """The headers without it."""
        if self._trace is None or self._trace_of(headers) != self._trace:
            return headers
        return [one for one in headers if one[0].lower() not in self._names]
