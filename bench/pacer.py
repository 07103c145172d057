"""Writes flights at a rate, each with the time at which it was handed to the producer.

usage: python -m bench.pacer BROKERS TOPIC RATE TOTAL
"""

import itertools
import sys
import time

from confluent_kafka import Producer

from bench.cluster import KEYS, flights

TICK = 0.001
"""Seconds: faster than a thousand a second, records of a tick go out together."""
LINGER = 5
"""Milliseconds, above that rate: a request for each record would keep the broker busy with that."""


def main(brokers: str, topic: str, rate: float, total: int) -> None:
    linger = LINGER if rate * TICK > 1 else 0
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": linger})
    begun = time.monotonic()
    for index, flight in enumerate(itertools.islice(flights(), total)):
        ahead = begun + index / rate - time.monotonic()
        if ahead > 0:
            time.sleep(max(ahead, TICK))
        value = flight[:-1] + b',"sent":%.6f}' % time.time()
        producer.produce(topic, value, str(index % KEYS))
        producer.poll(0)
    producer.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
