"""The HTTP endpoint of a spec, for whoever has a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext

from worker.flow.health import Snapshot
from worker.http import Page, routes, serve
from worker.observe.history import recording
from worker.observe.metrics import metrics_text
from worker.observe.page import page_html, policy_of
from worker.observe.stats import stats_json
from worker.ports import Clock
from worker.settings import Server

Serve = Callable[[Callable[[], Snapshot]], AbstractContextManager[object]]


def endpoint(server: Server, clock: Clock) -> Serve:
    """What serves snapshots where the spec says, until it is left; nothing with port 0."""
    return lambda snapshot: (
        serving(server.host, server.port, snapshot, clock) if server.port else nullcontext()
    )


@contextmanager
def serving(host: str, port: int, snapshot: Callable[[], Snapshot], clock: Clock) -> Iterator[str]:
    """Serve snapshots and their history; yields the address as host:port.

    Raises `CannotListen`.
    """
    html = page_html()
    page = Page(html, policy_of(html))
    with recording(snapshot, clock) as history:
        paths = routes(snapshot, stats_json, metrics_text, history.json, page)
        with closing(serve(host, port, paths)) as listening:
            yield listening.address
