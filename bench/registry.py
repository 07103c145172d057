"""All systems by name, and how some are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.kafka_streams import PROCESSORS, streams
from bench.systems import Job, System, bare, worker
from bench.venvs import PEERS, python

BASE = "bare"
"""The system to which ratios are taken."""


def peer(name: str, script: str) -> Callable[[Job], list[str]]:
    """A script in `peers/`, run by the interpreter of that peer."""
    return lambda job: [str(python(name)), str(PEERS / script), *job.arguments()]


SYSTEMS = [
    System("bare", "bare loop", bare("tuned")),
    System("bare-defaults", "bare loop, librdkafka's defaults", bare("defaults")),
    System("worker", "worker", worker("seen")),
    System("worker-batch", "worker, batch handler", worker("seen_batch")),
    System("kafka-streams", "Kafka Streams", streams(threads=PROCESSORS)),
    System("kafka-streams-1", "Kafka Streams, one thread", streams(threads=1)),
    System("bytewax", "Bytewax", peer("bytewax", "bytewax_app.py")),
    System("quix", "Quix Streams", peer("quix", "quix_app.py")),
    System("faust", "Faust", peer("faust", "faust_app.py")),
    System("faststream", "FastStream", peer("faststream", "faststream_app.py")),
    System("faststream-batch", "FastStream, batches", peer("faststream", "faststream_batch.py")),
]


def choose(text: str) -> list[System]:
    """Systems by their names with commas between; raises `ValueError` that lists all."""
    return [by_name(name.strip()) for name in text.split(",") if name.strip()]


def by_name(name: str, systems: Sequence[System] = SYSTEMS) -> System:
    for system in systems:
        if system.name == name:
            return system
    known = ", ".join(system.name for system in systems)
    raise ValueError(f"there is no system {name!r}; there are {known}")
