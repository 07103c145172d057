"""One way to send many flights, timed from the first call to the last acknowledgement.

usage: python -m bench.send_loop bare|reported|client|frozen BROKERS TOPIC RECORDS
"""

import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Producer

from bench.cluster import KEYS, flights
from worker import Kafka, KafkaSettings
from worker.errors import SendFailed
from worker.kafka import config

Records = Iterable[tuple[bytes, bytes]]


def bare(brokers: str, topic: str, records: Records) -> None:
    """`Producer.produce` and nothing else: nobody learns what became of a record."""
    produce_all(brokers, topic, records, None)


def reported(brokers: str, topic: str, records: Records) -> None:
    """`Producer.produce` with a callback for each record that looks at its error."""
    failed = []

    def on_delivery(error: object, _message: object) -> None:
        if error is not None:
            failed.append(error)

    produce_all(brokers, topic, records, on_delivery)
    assert not failed


def produce_all(
    brokers: str,
    topic: str,
    records: Records,
    on_delivery: Callable[[object, object], None] | None,
) -> None:
    producer = Producer(config.producer(KafkaSettings(brokers=brokers.split(",")), {}))
    produce, poll = producer.produce, producer.poll
    for index, (key, value) in enumerate(records):
        while True:
            try:
                produce(topic, value, key, on_delivery=on_delivery)
                break
            except BufferError:
                poll(0.01)
        if not index % 1000:
            poll(0)
    assert producer.flush() == 0


def client(brokers: str, topic: str, records: Records) -> None:
    """`Kafka.send_async`."""
    with Kafka(brokers) as kafka:
        send = kafka.send_async
        for key, value in records:
            send(topic, value, key)
        assert kafka.producer.flush() == 0
        assert kafka.stats().errors == 0


def frozen(brokers: str, topic: str, records: Records) -> None:
    """`Kafka.send_async` while no broker answers: what does not fit is refused."""
    refused = 0
    with Kafka(brokers) as kafka:
        kafka.send(topic, b"the brokers are frozen when this is acknowledged")
        print("ready", flush=True)
        sys.stdin.readline()
        for key, value in records:
            try:
                kafka.send_async(topic, value, key, timeout=0)
            except SendFailed:
                refused += 1
        print(json.dumps({"refused": refused, "peak": peak()}), flush=True)
        sys.stdin.readline()


def peak() -> float:
    """MiB of memory at the peak."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def records(number: int) -> Records:
    """Keys and flights, made as they are needed: a long list would slow garbage collection."""
    keys = [str(number).encode() for number in range(KEYS)]
    return itertools.islice(zip(itertools.cycle(keys), flights(), strict=False), number)


def main(way: str, brokers: str, topic: str, number: str) -> None:
    """Warm the client up, and measure."""
    loop = {"bare": bare, "reported": reported, "client": client, "frozen": frozen}[way]
    if way == "frozen":
        loop(brokers, topic, records(int(number)))
        return
    loop(brokers, topic, records(1000))
    began, cpu, before = time.monotonic(), time.process_time(), peak()
    loop(brokers, topic, records(int(number)))
    took = {
        "rate": int(number) / (time.monotonic() - began),
        "cpu": (time.process_time() - cpu) / int(number) * 1e6,
        "growth": peak() - before,
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
