"""The yardstick: a confluent-kafka loop, at least once, in as few lines as it takes.

usage: python -m bench.bare tuned|defaults BROKERS GROUP SOURCE TARGET
"""

import signal
import sys
import time

import orjson
from confluent_kafka import Consumer, Producer

SETTINGS: dict[str, tuple[dict[str, str | int], dict[str, str | int]]] = {
    "tuned": (
        {
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 20_000,
            "partition.assignment.strategy": "cooperative-sticky",
        },
        {"linger.ms": 5},
    ),
    "defaults": ({}, {}),
}
"""Of the consumer and of the producer."""


def main(settings: str, brokers: str, group: str, source: str, target: str) -> None:
    consuming, producing = SETTINGS[settings]
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            **consuming,
        }
    )
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, **producing})
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer.subscribe([source])
    due = time.monotonic() + 1
    uncommitted = None
    while running:
        first = consumer.poll(0.1)
        messages = [] if first is None else [first, *consumer.consume(499, 0)]
        for message in messages:
            payload = orjson.loads(message.value() or b"")
            payload["seen"] = True
            value = orjson.dumps(payload)
            while True:
                try:
                    producer.produce(target, value, message.key())
                    break
                except BufferError:
                    producer.poll(0.1)
            consumer.store_offsets(message)
            uncommitted = message
        producer.poll(0)
        if uncommitted is not None and time.monotonic() >= due:
            producer.flush()
            consumer.commit(asynchronous=False)
            due, uncommitted = time.monotonic() + 1, None
    producer.flush()
    if uncommitted is not None:
        consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
