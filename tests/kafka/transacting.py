"""A process that writes transactions until it is killed: `ADDRESS TOPIC TARGET IDENTITY HOW`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from worker.kafka import config
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.partitions import committable
from worker.kafka.transactional import KafkaTransactional
from worker.ports import Commits, Offsets
from worker.settings import KafkaSettings
from worker.types import Commit, Encoded, TopicPartition

DEADLINE = 30.0


class Everything:
    """Implements `ports.Rebalance`."""

    def admitted(self) -> None: ...
    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        return {source: commit.offset if commit else 0 for source, commit in committed.items()}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None: ...
    def lost(self, partitions: Sequence[TopicPartition]) -> None: ...
    def offset_lost(self, partition: TopicPartition) -> None: ...
    def committed(self, commits: Commits, error: str | None) -> None: ...


def main(address: str, topic: str, target: str, identity: str, how: str) -> None:
    kafka = KafkaSettings(brokers=[address])
    consumer = KafkaConsumer(config.member(kafka, identity, "read_committed", "instance"))
    producer = KafkaTransactional(config.transactional(kafka, {}, identity, DEADLINE))
    producer.take_over(DEADLINE)
    consumer.subscribe([topic], Everything())
    while not consumer.joined:
        consumer.poll(1, 0.1)
    source = TopicPartition(topic, 0)
    done = consumer.committed([source])[source]
    offset = done.offset if done else 0
    while True:
        producer.begin()
        producer.send([Encoded(target, b"%d" % offset)], ignore, ignore)
        commits = {source: Commit(offset + 1, "sw1:")}
        if how == "between":
            send = partial(producer.client.send_offsets_to_transaction, committable(commits))
            send(consumer.membership(), DEADLINE)
            producer.client.flush(DEADLINE)
            say("ready")
            time.sleep(DEADLINE)
        producer.commit(commits, consumer.membership(), DEADLINE)
        offset += 1
        say(str(offset))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def ignore(_report: object) -> None:
    """The commit tells as well."""


if __name__ == "__main__":
    main(*sys.argv[1:])
