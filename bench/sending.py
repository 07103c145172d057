"""Sending by the client beside bare producers, and its memory while no broker answers."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from bench.cluster import create, unique
from bench.systems import ROOT
from worker.kafka.broker import KafkaCluster

LOOP = (sys.executable, "-m", "bench.send_loop")
WAYS = {
    "bare": "bare `produce`, reports thrown away",
    "reported": "bare `produce`, a callback for each record",
    "client": "`Kafka.send_async`",
}


def measure(brokers: str, records: int, repeats: int) -> str:
    """Run every way `repeats` times in turn; a markdown table of medians and ratios."""
    figures: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            topic = unique(way)
            create(brokers, topic)
            figures[way].append(run(way, brokers, topic, records))
            print(f"{way}: {figures[way][-1]}")
    lines = [
        "| sending | records/s, median | to bare | to bare with callbacks | CPU us/record |",
        "|--|--|--|--|--|",
    ]
    for way, text in WAYS.items():
        rates = [one["rate"] for one in figures[way]]
        lines.append(
            f"| {text} | {median(rates):,.0f} | {ratio(figures, way, 'bare')} "
            f"| {ratio(figures, way, 'reported')} "
            f"| {median(one['cpu'] for one in figures[way]):.2f} |"
        )
    return "\n".join([*lines, "", memory(records)])


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


def ratio(figures: dict[str, list[dict[str, float]]], way: str, other: str) -> str:
    """The ratio of two ways, pair by pair within a repeat."""
    pairs = zip(figures[way], figures[other], strict=True)
    ratios = [mine["rate"] / theirs["rate"] for mine, theirs in pairs]
    return f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"


def memory(records: int) -> str:
    """What the client takes while no broker answers."""
    topic = unique("frozen")
    with KafkaCluster() as cluster:
        create(cluster.address, topic)
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
