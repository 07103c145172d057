"""The HTTP endpoint of a spec, for whoever has a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from typing import Final

from worker.flow.health import Snapshot
from worker.http import Page, kept, routes, serve
from worker.observe.exporting import exporting
from worker.observe.exposition import metrics_text
from worker.observe.history import recording
from worker.observe.kafka_exporter import KAFKA_EXPORTER
from worker.observe.page import page_html, policy_of
from worker.observe.stats import stats_json
from worker.ports import Clock
from worker.settings import Spec

COSTLY: Final = ("/stats", "/metrics")
"""Paths whose answers grow with the partitions."""

Serve = Callable[[Callable[[], Snapshot]], AbstractContextManager[object]]


def endpoint(spec: Spec, clock: Clock) -> Serve:
    """What serves snapshots where the spec says, until it is left; nothing with port 0.

    And exports their metrics where the environment says so; raises `BadEnvironment`.
    """
    export = exporting(spec.name)

    @contextmanager
    def serving_and_exporting(snapshot: Callable[[], Snapshot]) -> Iterator[None]:
        served = serving(spec, snapshot, clock) if spec.server.port else nullcontext()
        with served, export(snapshot):
            yield

    return serving_and_exporting


@contextmanager
def serving(spec: Spec, snapshot: Callable[[], Snapshot], clock: Clock) -> Iterator[str]:
    """Serve snapshots and their history; yields the address as host:port.

    Raises `CannotListen`.
    """
    html, server = page_html(), spec.server
    page = Page(html, policy_of(html))
    metrics = partial(metrics_text, more=KAFKA_EXPORTER if server.kafka_exporter else ())
    with recording(snapshot, clock) as history:
        paths = routes(snapshot, stats_json, metrics, history.json, page)
        paths = {**paths, **{path: kept(paths[path], clock.monotonic) for path in COSTLY}}
        with closing(serve(server.host, server.port, paths, server.hosts)) as listening:
            yield listening.address
