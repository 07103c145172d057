"""End-to-end latency at paced rates: from the call of produce to the poll of the result."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson
from confluent_kafka import Consumer

from bench.charts import chart
from bench.cluster import KEYS, reader, topics, unique
from bench.figures import percentile
from bench.process import ROOT, Process
from bench.rounds import Attempt, Failed, rounds, say
from bench.section import Section
from bench.systems import Job, System
from bench.table import by_system, median_of

WARM_SECONDS = 3
"""Seconds at the rate, after the first results, that are left out."""
START = 120
"""Seconds to the first results, at most."""
GRACE = 5
"""Seconds behind the last record in which all results have to be there."""
DIRECT = System(
    "direct",
    "nothing between, for comparison",
    lambda _: [sys.executable, "-c", "import signal; signal.pause()"],
)
"""What the pacer, the broker and the reader take by themselves."""
HEAD = ["system", "p50 ms", "p95 ms", "p99 ms", "max ms"]


def measure(
    brokers: str, systems: list[System], rates: list[int], seconds: int, repeats: int
) -> list[Section]:
    """Every system `repeats` times in turn, at one rate after the other."""
    return [at(brokers, systems, rate, seconds, repeats) for rate in rates]


def at(
    brokers: str, systems: list[System], rate: int, seconds: int, repeats: int, how: str = ""
) -> Section:
    """Every system `repeats` times in turn, at one rate; `how` is added to the title."""
    title = f"Latency at {rate:,}/s{how}"
    say(title)
    attempts = rounds([DIRECT, *systems], repeats, _measuring(brokers, rate, seconds))
    return Section(
        title,
        {"rate": rate, "seconds": seconds, "warm": WARM_SECONDS, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
        [],
        [chart(f"{title}, p99 in ms", attempts, "p99", 1)],
    )


def table(attempts: Sequence[Attempt]) -> str:
    """Medians and ranges of the percentiles."""
    return by_system(
        attempts,
        HEAD,
        lambda name: [median_of(attempts, name, one, 1) for one in ("p50", "p95", "p99", "max")],
    )


def _measuring(brokers: str, rate: int, seconds: int) -> Callable[[System, int], dict[str, float]]:
    def measure(system: System, repeat: int) -> dict[str, float]:
        source = unique(f"latency-{system.name}-{repeat}")
        target = source if system is DIRECT else f"{source}.out"
        with (
            tempfile.TemporaryDirectory() as folder,
            topics(brokers, *{source, f"{source}.dlq", target}),
        ):
            command = system.command(Job(brokers, source, source, target, Path(folder)))
            with Process(command) as process:
                latencies = _run(process, brokers, source, target, rate, seconds)
                process.stop()
        return {
            "p50": percentile(latencies, 50),
            "p95": percentile(latencies, 95),
            "p99": percentile(latencies, 99),
            "max": max(latencies),
            "results": len(latencies),
        }

    return measure


def _run(
    process: Process, brokers: str, source: str, target: str, rate: int, seconds: int
) -> list[float]:
    """Wait until the system is at work, then pace; the latencies behind the warm-up."""
    consumer = reader(brokers, target)
    try:
        with _pacer(brokers, source, KEYS, KEYS):
            _collect(process, consumer, KEYS, START)
        warm, total = rate * WARM_SECONDS, rate * (WARM_SECONDS + seconds)
        with _pacer(brokers, source, rate, total) as pacer:
            found = _collect(process, consumer, total, WARM_SECONDS + seconds + GRACE)
            if pacer.wait():
                raise RuntimeError("the pacer failed")
        return found[warm:]
    finally:
        consumer.close()


def _pacer(brokers: str, topic: str, rate: int, total: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.pacer", brokers, topic, str(rate), str(total)]
    return subprocess.Popen(command, cwd=ROOT)


def _collect(process: Process, consumer: Consumer, total: int, seconds: float) -> list[float]:
    """Milliseconds of so many results in the order of their coming."""
    found: list[float] = []
    deadline = time.monotonic() + seconds
    while len(found) < total:
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            sent = orjson.loads(message.value() or b"")["sent"]
            found.append((time.time() - sent) * 1000)
        elif not process.alive():
            raise Failed(f"ended: {process.last_words()}")
        if time.monotonic() > deadline:
            raise Failed(
                f"does not keep up: {len(found):,} of {total:,} results in {seconds:.0f} s"
            )
    return found
