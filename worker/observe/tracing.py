"""Trace context that goes from a message to what results from it."""

from __future__ import annotations

from worker.ports import Observer
from worker.types import Encoded, Headers, Message

CONTEXT = frozenset({"traceparent", "tracestate"})
"""Header names of the W3C recommendation Trace Context."""


class TraceContext(Observer):
    """Passes the trace context on; a record that has one of its own keeps it."""

    def headers_for(self, message: Message, record: Encoded) -> Headers:
        """See `ports.Observer`."""
        inherited = message.headers
        if not inherited:
            return ()
        if any(name in CONTEXT for name, _ in record.headers):
            return ()
        return [header for header in inherited if header[0] in CONTEXT]
