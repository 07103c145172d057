"""Workers that exist only as snapshots, with a history of their own, behind the real endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import sin

from worker.flow.failures import FailureGroup
from worker.flow.health import Counts, Flow, Overrunning, PartitionState, PipelineState, Snapshot
from worker.flow.timing import Histogram
from worker.http import Page, routes, serve
from worker.observe.exposition import metrics_text
from worker.observe.history import History
from worker.observe.page import page_html, policy_of
from worker.observe.stats import stats_json

EPOCH = 1_790_000_000.0
Look = Callable[[float], tuple[PipelineState, ...]]
"""The pipelines so many seconds after the start."""


class Scene:
    """A worker whose time goes on when a test says so."""

    def __init__(self, look: Look, name: str = "flights") -> None:
        self.look = look
        self.name = name
        self.now = 0.0
        self.history = History()
        self.started = EPOCH

    def snapshot(self) -> Snapshot:
        pipelines = tuple(replace(one, stepped=self.now) for one in self.look(self.now))
        return Snapshot(
            self.name,
            "1.4.0",
            self.started,
            self.now,
            pipelines=pipelines,
            time=self.started + self.now,
        )

    def forward(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.history.look(self.snapshot(), self.started + self.now)


@contextmanager
def served(scene: Scene, port: int = 0) -> Iterator[str]:
    """The scene's endpoint; yields its address."""
    html = page_html()
    page = Page(html, policy_of(html))
    paths = routes(scene.snapshot, stats_json, metrics_text, scene.history.json, page)
    server = serve("127.0.0.1", port, paths)
    try:
        yield f"http://{server.address}"
    finally:
        server.close()


def partition(topic: str, number: int, at: int, lag: int = 0, in_flight: int = 0) -> PartitionState:
    committable = at - in_flight
    end = committable + lag
    return PartitionState(topic, number, at, committable, committable, end, in_flight, paused=False)


def pipeline(name: str, flow: Flow, **changes: object) -> PipelineState:
    state = PipelineState(
        name, f"flights.{name}", "running", joined=True, connected=True, flow=flow
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def aged(messages: int, seconds: float) -> Histogram:
    """So many messages, which were so old all together."""
    histogram = Histogram(seconds=seconds)
    histogram.buckets[0] = messages
    return histogram


def airline(now: float) -> tuple[PipelineState, ...]:
    """Three pipelines: one in good order, one with retries and dead letters, one whose breaker
    is open."""
    wave = 1180 + 260 * sin(now / 70) + 60 * sin(now / 9)
    done = int(1180 * now + 18200 * (1 - sin(now / 70)) * 0.4)
    dead, retried, rounds = int(now / 14), int(now / 3), 1 + (now > 240) * 2 + (now > 700)
    delays = pipeline(
        "delays",
        Flow(("flights", "flights.late"), "delays", "delays", ("flights.dlq",), ()),
        received_rate=wave,
        produced_rate=wave * 0.62,
        in_flight=int(wave / 60),
        counts=Counts(
            received=done,
            handled=done,
            filtered=int(done * 0.38),
            produced=int(done * 0.62),
            latency=aged(done, done * 0.017 + 300 * sin(now / 70)),
            dead_lettered={"rejected": 3} if now > 300 else {},
            rebalances=rounds,
        ),
        partitions=(
            *(partition("flights", n, done // 4 + n * 977, int(wave / 15), 5) for n in range(4)),
            *(partition("flights.late", n, done // 40 + n, int(wave / 90)) for n in range(2)),
        ),
        failures=(
            FailureGroup(
                "dead-lettered", "rejected", "Reject", "unknown origin", 3, "flights", 2, 81233,
                EPOCH + now - 310,
            ),
        )
        if now > 300
        else (),
    )  # fmt: skip
    seats = int(210 * now)
    retry = "flights.bookings.retry.0"
    bookings = pipeline(
        "bookings",
        Flow(("bookings",), "charge", "tickets", ("bookings.dlq",), (retry,), "exactly_once"),
        received_rate=208 + 20 * sin(now / 31),
        produced_rate=205 + 20 * sin(now / 31),
        in_flight=45 + int(20 * sin(now / 31)),
        counts=Counts(
            received=seats,
            handled=seats - dead,
            produced=seats - dead,
            dead_lettered={"handler_error": dead, "timeout": dead // 9},
            retried=retried,
            moved=dead * 3,
            latency=aged(seats, seats * 0.21 + 200 * sin(now / 31)),
            rebalances=rounds,
        ),
        partitions=(
            partition("bookings", 0, seats // 3, 41, 12),
            replace(
                partition("bookings", 1, seats // 3, 3900 + int(now), 900), held_by=seats // 3 - 900
            ),
            partition("bookings", 2, seats // 3, 38, 9),
            replace(partition(retry, 0, dead, 12), paused=True, due_in=34.2),
        ),
        overrunning=(Overrunning("bookings", 1, seats // 3 - 900, 48.0),) if now > 800 else (),
        timeout=30.0,
        failures=(
            FailureGroup(
                "tried again", "handler_error", "ConnectionError", "", retried, "bookings", 2,
                seats // 3 - 31, EPOCH + now - 2,
            ),
            FailureGroup(
                "dead-lettered", "handler_error", "CardRefused", "", dead, "bookings", 0,
                seats // 3 - 800, EPOCH + now - 9,
            ),
            FailureGroup(
                "dead-lettered", "timeout", "", "", dead // 9, "bookings", 1, seats // 3 - 2400,
                EPOCH + now - 96,
            ),
        ),
    )  # fmt: skip
    stopped = min(now, 620.0)
    mails = int(90 * stopped)
    notify = pipeline(
        "notify",
        Flow(("tickets",), "send_mail", None, ("tickets.dlq",)),
        received_rate=90.0 if now < 620 else 0.0,
        in_flight=14,
        counts=Counts(
            received=mails,
            handled=mails,
            filtered=mails,
            rebalances=rounds,
            latency=aged(mails, mails * 0.156),
        ),
        breaker_open="breaker smtp is open: 12 failures in a row, the last: ConnectionRefusedError"
        if now > 620
        else None,
        partitions=tuple(
            partition("tickets", n, mails // 2, 20 + int((now - stopped) * 95), 7) for n in range(2)
        ),
    )
    return delays, bookings, notify


def crowd(now: float) -> tuple[PipelineState, ...]:
    """Fifty pipelines with ten partitions each; the thirty-third has failed."""
    return tuple(
        pipeline(
            f"pipeline-{n:02}",
            Flow((f"topic-{n:02}",), f"handler_{n}", f"out-{n:02}", (f"dlq-{n:02}",)),
            received_rate=10.0 * n,
            produced_rate=9.0 * n,
            counts=Counts(received=int(10 * n * now), handled=int(10 * n * now)),
            failed="a poison pill" if n == 33 else None,
            status="failed" if n == 33 else "running",
            partitions=tuple(partition(f"topic-{n:02}", p, int(n * now), n * p) for p in range(10)),
        )
        for n in range(50)
    )
