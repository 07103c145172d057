"""The last fifteen minutes: what `/history` answers; docs/http.md describes every column."""

from __future__ import annotations

import logging
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import nan
from typing import Final, NamedTuple

import orjson

from worker.flow.health import Counts, PipelineState, Snapshot
from worker.ports import Clock

log = logging.getLogger(__name__)

VERSION: Final = 1
"""Raised when a column changes its meaning or goes; new ones may come at any time."""
STEP: Final = 5.0
"""Seconds between two points."""
STEPS: Final = 180
"""Points that are kept."""
LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what is in flight, of which a point has the mean."""

COLUMNS: Final = (
    "received",
    "produced",
    "dead_lettered",
    "skipped",
    "retried",
    "lag",
    "in_flight",
    "latency",
    "rebalances",
)


class Point(NamedTuple):
    """All columns of all pipelines at one moment, pipeline after pipeline."""

    pipelines: tuple[str, ...]
    values: array[float]
    """Not a number is "not known"."""


BLANK: Final = Point((), array("d"))


class Kept(NamedTuple):
    """The points, the oldest first, and when the last one was, in seconds since 1970."""

    points: tuple[Point, ...]
    end: float


class History:
    """Points at a fixed step; one thread looks, any thread may ask for the answer.

    What is kept is replaced, never changed, so nobody needs a lock.
    """

    def __init__(self) -> None:
        self._kept = Kept((), 0.0)
        self._answer: tuple[object, bytes] = (None, b"")
        """The last one, and what it was made of."""
        self._step: int | None = None
        """The number of the step that is going on."""
        self._begun = 0.0
        self._before: dict[str, Counts] = {}
        self._looks = 0
        self._in_flight: Counter[str] = Counter()
        """Sums over the looks of this step."""

    def look(self, snapshot: Snapshot, time: float) -> None:
        """Take a snapshot in; `time` is that of the snapshot in seconds since 1970."""
        step = int(snapshot.now // STEP)
        if self._step is None:
            self._begin(snapshot, step)
        elif step > self._step:
            missed = min(step - self._step - 1, STEPS)
            points = (*self._kept.points, *[BLANK] * missed, self._point(snapshot))
            self._kept = Kept(points[-STEPS:], time)
            self._begin(snapshot, step)
        self._looks += 1
        for pipeline in snapshot.pipelines:
            self._in_flight[pipeline.name] += pipeline.in_flight

    def json(self) -> bytes:
        """The points as columns per pipeline, the oldest first; made once for all who ask."""
        kept, (answered, answer) = self._kept, self._answer
        if answered is not kept:
            answer = _json(kept)
            self._answer = kept, answer
        return answer

    def _begin(self, snapshot: Snapshot, step: int) -> None:
        self._step = step
        self._begun = snapshot.now
        self._before = {pipeline.name: pipeline.counts for pipeline in snapshot.pipelines}
        self._looks = 0
        self._in_flight.clear()

    def _point(self, snapshot: Snapshot) -> Point:
        seconds = snapshot.now - self._begun
        values = array("d")
        for pipeline in snapshot.pipelines:
            before = self._before.get(pipeline.name)
            in_flight = self._in_flight[pipeline.name] / self._looks
            values.extend(
                [nan] * len(COLUMNS)
                if before is None
                else _columns(pipeline, before, in_flight, seconds)
            )
        return Point(tuple(pipeline.name for pipeline in snapshot.pipelines), values)


@contextmanager
def recording(snapshot: Callable[[], Snapshot], clock: Clock) -> Iterator[History]:
    """Look at snapshots, in a thread of its own, for as long as the `with` block lasts."""
    history, ending = History(), threading.Event()

    def record() -> None:
        while not ending.wait(LOOK_EVERY):
            try:
                history.look(snapshot(), clock.time())
            except Exception:
                log.exception("the history has lost a point")

    thread = threading.Thread(target=record, name="history", daemon=True)
    thread.start()
    try:
        yield history
    finally:
        ending.set()
        thread.join()


def _json(kept: Kept) -> bytes:
    points, width = kept.points, len(COLUMNS)
    names = next((point.pipelines for point in reversed(points) if point.pipelines), ())
    blank = array("d", [nan]) * (len(names) * width)
    values = array("d")
    for point in points:
        values.extend(point.values if point.pipelines == names else blank)
    document = {
        "version": VERSION,
        "step": STEP,
        "end": round(kept.end, 3),
        "points": len(points),
        "pipelines": {
            name: {
                column: values[place * width + number :: len(names) * width].tolist()
                for number, column in enumerate(COLUMNS)
            }
            for place, name in enumerate(names)
        },
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _columns(
    pipeline: PipelineState, before: Counts, in_flight: float, seconds: float
) -> Sequence[float]:
    """In the order of `COLUMNS`."""
    counts = pipeline.counts

    def grown(number: Callable[[Counts], int]) -> int:
        return growth(number(before), number(counts))

    def rate(number: Callable[[Counts], int]) -> float:
        return round(grown(number) / seconds, 2)

    latency, earlier = counts.latency, before.latency
    anew = latency.count < earlier.count
    finished = latency.count - (0 if anew else earlier.count)
    seconds_old = latency.seconds - (0.0 if anew else earlier.seconds)
    return (
        rate(lambda counts: counts.received),
        rate(lambda counts: counts.produced),
        rate(lambda counts: sum(counts.dead_lettered.values())),
        rate(lambda counts: sum(counts.skipped.values())),
        rate(lambda counts: counts.retried + counts.moved - counts.followed),
        nan if pipeline.lag is None else pipeline.lag,
        round(in_flight, 1),
        round(seconds_old / finished, 4) if finished else nan,
        grown(lambda counts: counts.rebalances),
    )


def growth(before: int, now: int) -> int:
    """By how much a counter has grown; one that has begun anew had 0 before."""
    return now - before if now >= before else now
