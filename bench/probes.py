"""How fast `/livez` answers beside a handler that keeps its thread, and the interpreter, busy."""

from __future__ import annotations

import itertools
import time
import urllib.request
from dataclasses import asdict

from bench.cluster import flights, load, topics, unique
from bench.figures import percentile
from bench.process import Process
from bench.rounds import Attempt, Failed, Subject, rounds
from bench.section import Section
from bench.systems import ready_worker
from bench.table import by_system, median_of

EVERY = 0.05
"""Seconds between two questions."""
RECORDS = 100
"""Each keeps the handler for ten seconds: more than any run takes."""
BUSY = "busy"
SUBJECTS = [
    Subject("idle", "worker without messages"),
    Subject(BUSY, "worker with one handler thread fully busy"),
]
HEAD = ["system", "p50 ms", "p99 ms", "max ms", "CPU, % of a core"]


def measure(brokers: str, seconds: int, repeats: int) -> Section:
    """`/livez` asked again and again for so long."""

    def run(subject: Subject, repeat: int) -> dict[str, float]:
        topic = unique(f"probes-{subject.name}-{repeat}")
        with (
            topics(brokers, topic),
            ready_worker(lambda port: _spec(brokers, topic, port)) as (process, port),
        ):
            if subject.name == BUSY:
                load(brokers, topic, itertools.islice(flights(), RECORDS))
                _await_busy(process)
            return _ask(process, port, seconds)

    attempts = rounds(SUBJECTS, repeats, run)
    return Section(
        "Probes",
        {"seconds": seconds, "every": EVERY, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
    )


def table(attempts: list[Attempt]) -> str:
    """Medians and ranges of the percentiles."""
    return by_system(
        attempts,
        HEAD,
        lambda name: [median_of(attempts, name, one, 1) for one in ("p50", "p99", "max", "share")],
    )


def _spec(brokers: str, topic: str, port: int) -> str:
    return f"""\
version: 1
name: bench
kafka: {{brokers: "{brokers}"}}
handlers: [bench.handler]
server: {{port: {port}}}
pipelines:
  {topic}: {{from: {topic}, handler: computes_for_long, drain_timeout: 1s, concurrency: 1}}
"""


def _await_busy(process: Process) -> None:
    """Wait until the handler takes most of a core."""
    share = 0.0
    for _ in range(60):
        before = process.usage().cpu
        time.sleep(1)
        share = process.usage().cpu - before
        if share > 0.8:
            return
    raise Failed(f"the handler took {share:.0%} of a core only")


def _ask(process: Process, port: int, seconds: int) -> dict[str, float]:
    took: list[float] = []
    before, begun = process.usage(), time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=10) as answer:
                answer.read()
        except OSError as error:
            raise Failed(f"/livez did not answer: {error}") from error
        took.append((time.monotonic() - now) * 1000)
        time.sleep(EVERY)
    used = process.usage().cpu - before.cpu
    if not process.alive():
        raise Failed(f"ended: {process.last_words()}")
    return {
        "p50": percentile(took, 50),
        "p99": percentile(took, 99),
        "max": max(took),
        "share": used / (time.monotonic() - begun) * 100,
    }
