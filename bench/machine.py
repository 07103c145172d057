"""The machine of a run, and the versions of what ran."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import confluent_kafka
import orjson

from bench.venvs import pinned
from worker.kafka.jars import KAFKA
from worker.version import __version__

GIBIBYTE = 1024**3


def describe() -> dict[str, str]:
    """What has to be known to compare figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    return {
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "worker": __version__,
        "confluent-kafka": str(confluent_kafka.__version__),
        "librdkafka": str(confluent_kafka.libversion()[0]),
        "orjson": orjson.__version__,
        "Apache Kafka": _broker(),
        "Kafka Streams": KAFKA,
        "Bytewax": pinned("bytewax", "bytewax"),
        "Quix Streams": pinned("quix", "quixstreams"),
        "Faust": pinned("faust", "faust-streaming"),
        "FastStream": pinned("faststream", "faststream"),
    }


def processor(cpuinfo: str) -> str:
    """The name of the processor, where the kernel tells it."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _broker() -> str:
    if os.environ.get("KAFKA_BROKERS"):
        return "the brokers of KAFKA_BROKERS"
    return "that of KAFKA_HOME" if os.environ.get("KAFKA_HOME") else f"{KAFKA}, on this machine"
