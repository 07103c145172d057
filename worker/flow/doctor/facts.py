"""What is known of a pipeline, of its cluster and its worker, as they were at two moments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, NamedTuple

from worker.settings import Pipeline
from worker.types import TopicInfo, TopicPartition

BEHIND: Final = 100
"""Messages of lag below which nobody asks for its cause."""
STANDS: Final = 30.0
"""Seconds for which a partition waits for one message before that is worth a word..."""
STANDS_FACTOR: Final = 10.0
"""...if that is so many times what a message takes on average."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long some things took: a histogram as Prometheus has it."""

    buckets: Mapping[float, int]
    """By the seconds at which a bucket ends how many took no longer; the last end is infinite."""
    total: float
    """Seconds, all together."""

    @property
    def count(self) -> int:
        """How many there are."""
        return max(self.buckets.values(), default=0)

    @property
    def mean(self) -> float | None:
        """Seconds on average; None without any."""
        return self.total / self.count if self.count else None

    def since(self, before: Durations) -> Durations:
        """Those that came later; all of them if they were counted anew, or none came."""
        if self.count <= before.count:
            return self
        later = {end: number - before.buckets.get(end, 0) for end, number in self.buckets.items()}
        return Durations(later, self.total - before.total)

    def quantile(self, part: float) -> float | None:
        """The end of the bucket in which this part of them is over; None without any.

        The largest known end of what took longer than all of them.
        """
        known = [end for end in sorted(self.buckets) if end != inf]
        reached = (end for end in known if self.buckets[end] >= part * self.count)
        return next(reached, max(known, default=None)) if self.count else None


@dataclass(frozen=True, slots=True)
class Source:
    """A partition that is read, as it was at two moments."""

    low: int
    """The oldest offset that is kept."""
    end_before: int
    end: int
    committed_before: int | None
    committed: int | None
    """None where the group has committed nothing."""

    @property
    def lag(self) -> int:
        """Messages behind the committed offset, at most."""
        return max(0, self.end - max(self.low, self.committed or 0))

    @property
    def arrived(self) -> int:
        """How many came between the two."""
        return max(0, self.end - self.end_before)

    @property
    def done(self) -> int:
        """How many were committed between the two."""
        before = self.low if self.committed_before is None else self.committed_before
        return 0 if self.committed is None else max(0, self.committed - before)


class Standing(NamedTuple):
    """A partition that waits for one message."""

    source: TopicPartition
    offset: int
    seconds: float
    """For which it has."""

    def __str__(self) -> str:
        return f"{self.source.topic}/{self.source.partition}/{self.offset} for {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Working:
    """What a worker says of a pipeline, at the second moment or between the two."""

    handled: float = 0.0
    """Messages per second."""
    retried: float = 0.0
    """Failed attempts per second."""
    in_flight: int = 0
    at_work: int | None = None
    """Runs that handlers have; None where the worker does not say."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the loop's time, by stage; empty where the worker does not say."""
    mean: float | None = None
    """Seconds that a message is with its handler."""
    p99: float | None = None
    processes: int = 1
    failed: str | None = None
    blocked: str | None = None
    hindered: str | None = None
    breaker_open: str | None = None
    overrunning: tuple[str, ...] = ()
    """Messages whose handlers take longer than `timeout`."""
    held: tuple[Standing, ...] = ()
    """Partitions that are not read on, each with what holds it, and since when it was committed no
    further: under back-pressure that is moments."""
    standing: tuple[Standing, ...] = ()
    """Partitions that are committed no further until a handler comes back from a message."""
    last_failure: str | None = None
    crashes: int = 0
    """Messages that have failed as they end their process, since the start of the worker."""
    lately: int = 0
    """Those of them that did between the two moments."""
    last_crash: str = ""
    """The last one, and how the process ended."""

    def for_long(self, standing: Iterable[Standing]) -> Sequence[Standing]:
        """Those of them that have waited for so long that it is worth a word."""
        long = max(STANDS, STANDS_FACTOR * (self.mean or 0.0))
        return [one for one in standing if one.seconds >= long]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a pipeline."""

    name: str
    group: str
    settings: Pipeline
    seconds: float
    """Between the two moments."""
    sources: Mapping[TopicPartition, Source]
    members: int | None = None
    """Of its group; None where nobody says."""
    samples: Mapping[TopicPartition, Counter[bytes | None]] = field(default_factory=dict)
    """By what makes lanes, of a sample of what waits, or else of what was written last."""
    working: Working | None = None
    """None where no worker answers."""
    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    """Those that it reads and those of its dead letters, as far as they are there."""
    cores: int = 1
    """Handlers that a worker has by default."""

    @property
    def keys(self) -> Counter[bytes]:
        """By what makes lanes, those of the records looked at that have such a thing."""
        found: Counter[bytes] = Counter()
        for sample in self._samples:
            found.update({key: number for key, number in sample.items() if key is not None})
        return found

    @property
    def sampled(self) -> int:
        """Records that were looked at."""
        return sum(sample.total() for sample in self._samples)

    @property
    def _samples(self) -> Sequence[Counter[bytes | None]]:
        return [self.samples[source] for source in self.sources if source in self.samples]

    @property
    def lag(self) -> int:
        """Messages that wait."""
        return sum(one.lag for one in self.sources.values())

    @property
    def arriving(self) -> float:
        """Messages per second that come."""
        return sum(one.arrived for one in self.sources.values()) / self.seconds

    @property
    def finishing(self) -> float:
        """Messages per second that are committed."""
        return sum(one.done for one in self.sources.values()) / self.seconds

    @property
    def read(self) -> list[TopicPartition]:
        """Of the partitions that are read, those of topics that more is known of."""
        return [source for source in self.sources if source.topic in self.topics]

    @property
    def is_behind(self) -> bool:
        """Whether there is so much lag that its cause is of interest."""
        return self.lag >= BEHIND

    @property
    def standing(self) -> Sequence[Standing]:
        """Partitions that wait for one message, which has been at work for long."""
        return [] if self.working is None else self.working.for_long(self.working.standing)

    @property
    def moving(self) -> Facts:
        """The same without these, since more handlers or other keys would not help them."""
        standing = {one.source for one in self.standing}
        others = {source: one for source, one in self.sources.items() if source not in standing}
        return replace(self, sources=others)

    @property
    def stopped(self) -> bool:
        """Whether it handles nothing whatever waits, as far as the worker says."""
        working = self.working or Working()
        why = working.failed, working.blocked, working.hindered, working.breaker_open
        return any(one is not None for one in why)

    @property
    def handlers(self) -> int:
        """How many messages can be with handlers at the same time, in all processes."""
        processes = 1 if self.working is None else self.working.processes
        each = self.settings.concurrency or self.cores
        if self.settings.ordering == "partition":
            return min(each * processes, max(1, len(self.sources)))
        return each * processes
