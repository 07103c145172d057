"""Trace context that goes from a message to what results from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from worker.ports import Observer
from worker.types import Encoded, Headers, RawMessage, each, headers_of

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
CONTEXT: Final = frozenset({PARENT, STATE})
"""Header names of the W3C recommendation Trace Context."""


class TraceContext(Observer):
    """Passes the trace context on; a record that has one of its own keeps it."""

    def headers_for(self, raw: RawMessage, record: Encoded) -> Headers:
        """See `ports.Observer`; of headers that repeat the last one counts."""
        inherited = headers_of(raw)
        if not inherited:
            return ()
        if record.headers and any(name in CONTEXT for name, _ in record.headers):
            return ()
        context = {name: value for name, value in inherited if name in CONTEXT}
        return list(context.items()) if PARENT in context else ()

    def may_add_headers(self, raws: Sequence[RawMessage]) -> bool:
        """See `ports.Observer`; a message without headers has no context."""
        try:
            return any(each("headers", raws))
        except SystemError:  # see `headers_of`
            return True
