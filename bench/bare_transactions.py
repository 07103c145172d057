"""The yardstick of exactly once: a confluent-kafka loop in transactions of 100 ms.

usage: python -m bench.bare_transactions BROKERS GROUP SOURCE TARGET
"""

import signal
import sys
import time
import uuid

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.bare import SETTINGS

INTERVAL = 0.1


def main(brokers: str, group: str, source: str, target: str) -> None:
    consuming, producing = SETTINGS["tuned"]
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            **consuming,
        }
    )
    identity = f"{group}.{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": identity, **producing})
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer.subscribe([source])
    producer.init_transactions()
    producer.begin_transaction()
    due = time.monotonic() + INTERVAL
    offsets: dict[tuple[str, int], int] = {}
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
            offsets[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
        producer.poll(0)
        if offsets and time.monotonic() >= due:
            places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
            producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata())
            producer.commit_transaction()
            producer.begin_transaction()
            due = time.monotonic() + INTERVAL
            offsets.clear()
    producer.abort_transaction()
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
