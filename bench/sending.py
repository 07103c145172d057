"""Sending by the client beside bare producers, and its memory while no broker answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.cluster import topics, unique
from bench.process import ROOT
from bench.rounds import Attempt, Subject, rounds
from bench.section import Section
from bench.table import by_system, median_of, ratio_to
from worker.kafka.broker import KafkaCluster

LOOP = (sys.executable, "-m", "bench.send_loop")
HEAD = [
    "sending",
    "records/s, median (range)",
    "to bare",
    "to bare with callbacks",
    "CPU us/record",
]
WAYS = {
    "bare": "bare `produce`, reports thrown away",
    "reported": "bare `produce`, a callback for each record",
    "client": "`Kafka.send_async`",
}


def measure(brokers: str, records: int, repeats: int) -> Section:
    """Run every way `repeats` times in turn."""
    ways = [Subject(way, text) for way, text in WAYS.items()]

    def one(way: Subject, _: int) -> dict[str, float]:
        topic = unique(way.name)
        with topics(brokers, topic):
            return run(way.name, brokers, topic, records)

    attempts = rounds(ways, repeats, one)
    return Section(
        "Sending",
        {"records": records, "repeats": repeats},
        [asdict(one) for one in attempts],
        table(attempts),
        [memory(records)],
    )


def table(attempts: Sequence[Attempt]) -> str:
    """Medians and ranges; ratios are taken pair by pair within a repeat."""
    return by_system(
        attempts,
        HEAD,
        lambda way: [
            median_of(attempts, way, "rate"),
            ratio_to(attempts, way, "bare", "rate"),
            ratio_to(attempts, way, "reported", "rate"),
            median_of(attempts, way, "cpu", 2),
        ],
    )


def run(way: str, brokers: str, topic: str, records: int) -> dict[str, float]:
    """One process of one way."""
    done = subprocess.run(
        [*LOOP, way, brokers, topic, str(records)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def memory(records: int) -> str:
    """What the client takes while no broker answers."""
    topic = unique("frozen")
    with KafkaCluster() as cluster, topics(cluster.address, topic):
        process = subprocess.Popen(
            [*LOOP, "frozen", cluster.address, topic, str(records)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        cluster.pause_node(0)
        process.stdin.write("\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        cluster.resume_node(0)
        process.communicate("\n")
    return (
        f"While no broker answered: {records - found['refused']:,} of {records:,} records queued, "
        f"the others refused; {found['peak']:.0f} MiB at the peak, the records themselves included."
    )
