"""How long things take: histograms, and the stages in which a loop spends its time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, Literal

BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
)
"""Seconds at which the buckets of every histogram end; what takes longer has one more."""

Stage = Literal["poll", "decode", "handler", "produce", "commit", "waiting", "blocked", "other"]
STAGES: Final[tuple[Stage, ...]] = (
    *("poll", "decode", "handler", "produce", "commit", "waiting", "blocked", "other"),
)
"""What a loop does; what it waits for counts as that.

`waiting` is for messages, and `blocked` for what is in the way of handling them.
"""


@dataclass(slots=True)
class Histogram:
    """Durations, counted by how long they are; plain numbers that one thread writes."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """How many end in each bucket, by `BOUNDS`."""
    seconds: float = 0.0
    """All of them together."""

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.buckets)

    def note(self, seconds: float, times: int = 1) -> None:
        """Count a duration so many times; a negative one, of two clocks, is 0."""
        self.buckets[bisect_left(BOUNDS, seconds)] += times
        if seconds > 0.0:
            self.seconds += seconds * times

    def copy(self) -> Histogram:
        """The same numbers, which do not change any more."""
        return Histogram(list(self.buckets), self.seconds)


def added(histograms: Iterable[Histogram]) -> Histogram:
    """All durations in one."""
    total = Histogram()
    for one in histograms:
        total.buckets = [a + b for a, b in zip(total.buckets, one.buckets, strict=True)]
        total.seconds += one.seconds
    return total


class Laps:
    """Where the time of a loop goes: every moment is part of one stage."""

    def __init__(
        self, seconds: dict[str, float], clock: Callable[[], float] = perf_counter
    ) -> None:
        self._share = 0.0
        """Of decoding in the run that was measured last."""
        self._most = 0.0
        """Seconds that its decoding took: no other is taken to be decoded for longer."""
        self._left = 0.0
        """Of these, what the run that comes back next may still take."""
        self._seconds = seconds
        self._clock = clock
        self._since = clock()

    def end(self, stage: Stage) -> None:
        """What has passed since the last call was spent on `stage`."""
        now = self._clock()
        self._seconds[stage] += now - self._since
        self._since = now

    def measured(self, decoding: float, seconds: float) -> None:
        """Of a run that took so many `seconds`, decoding took its part."""
        self._share, self._most = min(1.0, decoding / seconds), decoding

    def end_handling(self, runs: int) -> None:
        """The same of messages that were decoded and handled; so many runs have come back."""
        now = self._clock()
        spent, self._since = now - self._since, now
        if runs:
            self._left += self._most * (runs - 1)
        decoding = min(spent * self._share, self._left)
        self._left = self._most if runs else self._left - decoding
        self._seconds["decode"] += decoding
        self._seconds["handler"] += spent - decoding

    @contextmanager
    def within(self, stage: Stage) -> Iterator[None]:
        """What the `with` block takes is spent on `stage`, and not on the one that goes on."""
        begun = self._clock()
        try:
            yield
        finally:
            spent = self._clock() - begun
            self._seconds[stage] += spent
            self._since += spent


class Timed:
    """A function that is called again and again, and how long it takes."""

    def __init__(self, function: Callable[[bytes | None], Any]) -> None:
        self.seconds = 0.0
        """In all calls together."""
        self._function = function

    def __call__(self, value: bytes | None) -> Any:
        """What the function returns, or raises."""
        begun = perf_counter()
        try:
            return self._function(value)
        finally:
            self.seconds += perf_counter() - begun


def stages() -> dict[str, float]:
    """No time yet in any stage."""
    return dict.fromkeys(STAGES, 0.0)
