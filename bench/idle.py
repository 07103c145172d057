"""Processor time of pipelines that have nothing to do."""

from __future__ import annotations

import time
from dataclasses import asdict

from bench.cluster import topics, unique
from bench.process import Process
from bench.rounds import Attempt, Failed, Subject, rounds
from bench.section import Section
from bench.systems import ready_worker
from bench.table import by_system, median_of

SETTLE = 5
"""Seconds between readiness and the first look."""
HEAD = ["system", "CPU, % of a core", "peak MiB"]


def measure(brokers: str, pipelines: int, seconds: int, repeats: int) -> Section:
    """A worker with so many pipelines, each on a topic of its own."""

    def run(_: Subject, repeat: int) -> dict[str, float]:
        names = [unique(f"idle-{repeat}-{number}") for number in range(pipelines)]
        with (
            topics(brokers, *names, "bench-idle-out"),
            ready_worker(lambda port: _spec(brokers, names, port)) as (process, _port),
        ):
            return _look(process, seconds)

    attempts = rounds([Subject("worker", f"worker, {pipelines} pipelines")], repeats, run)
    return Section(
        "Idle",
        {"pipelines": pipelines, "seconds": seconds, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
    )


def table(attempts: list[Attempt]) -> str:
    return by_system(
        attempts,
        HEAD,
        lambda name: [
            median_of(attempts, name, "share", 2),
            median_of(attempts, name, "rss"),
        ],
    )


def _spec(brokers: str, names: list[str], port: int) -> str:
    lines = [
        "version: 1",
        "name: bench",
        f'kafka: {{brokers: "{brokers}"}}',
        "handlers: [bench.handler]",
        f"server: {{port: {port}}}",
        "pipelines:",
    ]
    lines += [f"  {name}: {{from: {name}, to: bench-idle-out, handler: seen}}" for name in names]
    return "\n".join(lines) + "\n"


def _look(process: Process, seconds: int) -> dict[str, float]:
    time.sleep(SETTLE)
    before, begun = process.usage(), time.monotonic()
    time.sleep(seconds)
    after, ended = process.usage(), time.monotonic()
    if not process.alive():
        raise Failed(f"ended: {process.last_words()}")
    return {"share": (after.cpu - before.cpu) / (ended - begun) * 100, "rss": after.rss}
