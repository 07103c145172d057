"""A system's way through a backlog, by the end offsets of the output topic."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from bench.cluster import PARTITIONS, Ends, Reading, load, topics, unique, wrong
from bench.process import Process, Usage
from bench.registry import BASE, by_name
from bench.rounds import Attempt, Failed, rounds, say
from bench.systems import Job, System

WARM_SHARE = 0.2
"""Share of the records that counts as start-up, or"""
WARM_SECONDS = 5
"""seconds from the first result on, for systems that do not get so far in that time."""
START = 120
"""Seconds to the first result, at most."""
INTERVAL = 0.01
"""Seconds between two looks at the end offsets."""


def through_backlog(
    brokers: str,
    systems: list[System],
    records: Iterable[bytes],
    number: int,
    repeats: int,
    limit: float,
    partitions: int = PARTITIONS,
) -> list[Attempt]:
    """Load the records once, and measure every system `repeats` times in turn."""
    source = unique("source")
    with topics(brokers, source, partitions=partitions), topics(brokers, f"{source}.dlq"):
        say(f"loading {number:,} records")
        load(brokers, source, records)
        say("warming the broker up")
        with suppress(Failed):
            _measuring(brokers, source, number, limit)(by_name(BASE), 0)
        return rounds(systems, repeats, _measuring(brokers, source, number, limit))


def _measuring(
    brokers: str, source: str, number: int, limit: float
) -> Callable[[System, int], dict[str, float]]:
    def measure(system: System, repeat: int) -> dict[str, float]:
        group = unique(f"{system.name}-{repeat}")
        with tempfile.TemporaryDirectory() as folder, topics(brokers, group):
            command = system.command(Job(brokers, group, source, group, Path(folder)))
            figures = run(command, Ends(brokers, group), number, limit)
            if trouble := wrong(brokers, group):
                raise Failed(trouble)
            return figures

    return measure


def run(command: list[str], ends: Ends, number: int, limit: float) -> dict[str, float]:
    """One process: start-up, then steady until all is done or `limit` seconds are over."""
    begun = time.monotonic()
    with Process(command) as process:
        watch = Watch(process, ends)
        first = watch.until(lambda now: now.count > 0, START)
        warm = watch.until(lambda now: now.count >= number * WARM_SHARE, WARM_SECONDS, late=True)
        before = process.usage()
        done = watch.until(lambda now: now.count >= number, limit, late=True)
        after = process.usage()
        last = done if done.count < number else watch.before
        process.stop()
    if warm.count >= number:
        raise Failed(f"was through {number:,} records within start-up: it takes more of them")
    return {"start": first.at - begun, **steady(warm, last, done, before, after)}


def steady(
    warm: Reading, last: Reading, done: Reading, before: Usage, after: Usage
) -> dict[str, float]:
    """The figures from one reading to another, and the records that were done in between.

    The rate ends with the last reading while there was work: that all is done is seen later than
    it is so.
    """
    records, seconds = done.count - warm.count, done.at - warm.at
    if records <= 0:
        raise Failed(f"wrote no results in {seconds:.0f} s after the first {warm.count:,}")
    if last.count <= warm.count:
        last = done
    return {
        "rate": (last.count - warm.count) / (last.at - warm.at),
        "cpu": (after.cpu - before.cpu) / records * 1e6,
        "whole_cpu": after.cpu / done.count * 1e6,
        "rss": after.rss,
        "records": records,
        "seconds": seconds,
    }


class Watch:
    """Looks at the end offsets while a process runs."""

    def __init__(self, process: Process, ends: Ends) -> None:
        self._process = process
        self._ends = ends
        self.before = Reading(0, 0)
        """The reading before the latest."""
        self._latest = self.before

    def until(
        self, reached: Callable[[Reading], bool], seconds: float, *, late: bool = False
    ) -> Reading:
        """The first reading of which that holds, or the last in time, which fails unless `late`."""
        deadline = time.monotonic() + seconds
        while True:
            now = self._ends.read()
            self.before, self._latest = self._latest, now
            if reached(now):
                return now
            if not self._process.alive():
                raise Failed(f"ended after {now.count:,} results: {self._process.last_words()}")
            if now.at > deadline:
                if late:
                    return now
                raise Failed(f"no results in {seconds:.0f} s: {self._process.last_words()}")
            time.sleep(INTERVAL)
