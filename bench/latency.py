"""End-to-end latency at a paced rate: from the call of produce to the poll of the result."""

from __future__ import annotations

import itertools
import threading
import time
from statistics import median, quantiles

import orjson
from confluent_kafka import Consumer, Producer

from bench.cluster import create, flights, unique
from bench.systems import SYSTEMS

WARM_SECONDS = 3


def measure(brokers: str, rate: int, seconds: int, repeats: int) -> str:
    """Run every system `repeats` times in turn; a markdown table of percentiles in milliseconds."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in SYSTEMS}
    for repeat in range(repeats):
        for name, start in SYSTEMS.items():
            topic = unique(f"latency-{name}-{repeat}")
            create(brokers, topic, f"{topic}.dlq", f"{topic}.out")
            with start(brokers, topic, topic, f"{topic}.out") as process:
                latencies = _run(brokers, topic, rate, seconds)
                process.stop()
            percentiles = quantiles(latencies, n=100)
            figures[name].append((percentiles[49], percentiles[98]))
            print(f"{name}: p50 {percentiles[49]:.1f} ms, p99 {percentiles[98]:.1f} ms")
    lines = [f"| at {rate}/s | p50 ms, median | p99 ms, median |", "|--|--|--|"]
    for name, pairs in figures.items():
        p50, p99 = (median(column) for column in zip(*pairs, strict=True))
        lines.append(f"| {name} | {p50:.1f} | {p99:.1f} |")
    return "\n".join(lines)


def _run(brokers: str, topic: str, rate: int, seconds: int) -> list[float]:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"{topic}.reader",
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe([f"{topic}.out"])
    total = rate * (seconds + WARM_SECONDS)
    pacer = threading.Thread(target=_pace, args=(brokers, topic, rate, total), daemon=True)
    pacer.start()
    latencies: list[float] = []
    deadline = time.monotonic() + seconds + 60
    seen = 0
    while seen < total:
        message = consumer.poll(1.0)
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {seen} of {total} results arrived")
        if message is None or message.error():
            continue
        seen += 1
        if seen > rate * WARM_SECONDS:
            sent = orjson.loads(message.value() or b"")["sent"]
            latencies.append((time.time() - sent) * 1000)
    consumer.close()
    return latencies


def _pace(brokers: str, topic: str, rate: int, total: int) -> None:
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})
    begun = time.monotonic()
    for index, flight in enumerate(itertools.islice(flights(), total)):
        ahead = begun + index / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        value = flight[:-1] + b',"sent":%.6f}' % time.time()
        producer.produce(topic, value, str(index % 1000))
        producer.poll(0)
    producer.flush()
