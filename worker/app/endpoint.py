"""The HTTP endpoint of a spec, for whoever has a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext

from worker.flow.health import Snapshot
from worker.http import routes, serve
from worker.observe.metrics import metrics_text
from worker.observe.stats import stats_json
from worker.settings import Server

Serve = Callable[[Callable[[], Snapshot]], AbstractContextManager[object]]


def endpoint(server: Server) -> Serve:
    """What serves snapshots where the spec says, until it is left; nothing with port 0."""

    def serving(snapshot: Callable[[], Snapshot]) -> AbstractContextManager[object]:
        if not server.port:
            return nullcontext()
        paths = routes(snapshot, stats_json, metrics_text)
        return closing(serve(server.host, server.port, paths))

    return serving
