"""What exactly once means: messages, what is to become of them, and what has become of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, Message, Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from tests.system.rig import DEADLINE, NOTHING, Kafka, Spec, Worker
from worker.kafka.admin import OffsetSpec
from worker.kafka.broker import KafkaCluster
from worker.kafka.java import find_kafka

TRANSACTIONS: Final = "org.apache.kafka.tools.TransactionsCommand"
PARTITIONS: Final = 4
NODES: Final = 3
SOON: Final = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}
"""Brokers look often for transactions that are open for too long."""
ALONE: Final = {"instance": "one"}
KEYS: Final = 40
FAILS, RETRIED = 37, 23
"""Of so many messages one fails for good; and one at first, where there are retry topics."""

Payload = Mapping[str, Any]


class Story:
    """A spec of its own topics, the messages that were written for it, and what they became."""

    def __init__(
        self,
        kafka: Kafka,
        folder: Path,
        handler: str = "give_slots",
        *,
        client: Mapping[str, Any] = NOTHING,
        **settings: Any,
    ) -> None:
        self.kafka = kafka
        self.spec = Spec(kafka, folder, handler, client=client)
        self.dead = f"{self.spec.name}.dlq"
        self.spec.settings = {
            "delivery": "exactly_once",
            "dead_letter": self.dead,
            "ordering": "key",
            "concurrency": 64,
            "transaction": {"interval": "50ms", "messages": 50, "timeout": "6s"},
            **settings,
        }
        kafka.create(self.spec.source, self.spec.target, self.dead, partitions=PARTITIONS)
        tiers = self.spec.settings.get("retry", {}).get("topics", ())
        self.tiers = [f"{self.spec.group}.retry.{tier}" for tier in range(len(tiers))]
        self._read = [(self.spec.group, topic) for topic in (self.spec.source, *self.tiers)]
        self._counts: Counter[int] = Counter()
        self._written: list[Payload] = []
        self._aborted = 0
        self._admin = AdminClient({"bootstrap.servers": kafka.address})
        self._plain = kafka.producer()
        self._transactional = kafka.producer({"transactional.id": self.spec.name})
        self._transactional.init_transactions(DEADLINE)

    def write(self, number: int) -> None:
        """Write so many messages, half of them in a transaction, and more that are aborted."""
        half = number // 2
        self._send(self._plain, self._next(half))
        assert self._plain.flush(DEADLINE) == 0
        self._transactional.begin_transaction()
        self._send(self._transactional, self._next(number - half))
        self._transactional.commit_transaction(DEADLINE)
        self._transactional.begin_transaction()
        self._send(self._transactional, self._next_aborted(number // 5))
        assert self._transactional.flush(DEADLINE) == 0, "an abort drops what is not in the log yet"
        self._transactional.abort_transaction(DEADLINE)

    def is_through(self) -> bool:
        """Whether everything is committed that the pipeline reads."""
        return all(self._is_read(group, topic) for group, topic in self._read)

    def go_through(self) -> None:
        """Let a worker do what there is to do, and stop."""
        with self.spec.worker(**ALONE) as worker:
            worker.until(self.is_through)
            assert worker.stop() == 0, worker.log

    def faults(self) -> dict[str, Any]:
        """What is not as promised; empty when all is well and there is nothing more to do."""
        results = [_value(record) for record in self.kafka.read(self.spec.target)]
        letters = self.kafka.read(self.dead)
        slots = Counter((one["id"], one["slot"]) for one in results)
        dead = Counter(int(_value(letter)["id"]) for letter in letters)
        expected = {(one["id"], slot) for one in self._written for slot in _slots(one)}
        failing = {one["id"] for one in self._written if one["fails"]}
        reasons = {dict(letter.headers() or ())["dlq.reason"] for letter in letters}
        found = {
            "missing": sorted(expected - slots.keys()),
            "double": sorted(slot for slot, times in slots.items() if times > 1),
            "not to be there": sorted(slots.keys() - expected),
            "letters missing": sorted(failing - dead.keys()),
            "letters double": sorted(one for one, times in dead.items() if times > 1),
            "letters of others": sorted(dead.keys() - failing),
            "reasons": reasons - {b"handler_error"},
            "out of order": _out_of_order(results),
            "not committed": not self.is_through(),
            "open transactions": self.open(),
        }
        return {what: places for what, places in found.items() if places}

    def hanging(self, nodes: Iterable[int]) -> list[str]:
        """Hanging transactions of these brokers, as Kafka's own tool finds them."""
        return [line for node in nodes for line in _hanging(self.kafka.address, node)]

    def chain(self) -> None:
        """Have a second pipeline in the same worker take the results to the target."""
        between, target = f"{self.spec.name}.between", self.spec.target
        self.kafka.create(between, partitions=PARTITIONS)
        first = {**self.spec.settings, "from": self.spec.source, "handler": self.spec.handler}
        second = {key: deepcopy(first[key]) for key in ("delivery", "ordering", "transaction")}
        second |= {"from": between, "to": target, "handler": "echo"}
        self.spec.top = {"pipelines": {"pipeline": {**first, "to": between}, "second": second}}
        self._read.append((f"{self.spec.name}.second", between))

    def _is_read(self, group: str, topic: str) -> bool:
        places = self._places(topic)
        asked = ConsumerGroupTopicPartitions(group, places)
        (told,) = self._admin.list_consumer_group_offsets([asked]).values()
        committed = [max(0, place.offset) for place in told.result().topic_partitions or ()]
        return committed == self._ends(places, IsolationLevel.READ_COMMITTED)

    def _next(self, number: int) -> Iterator[Payload]:
        for _ in range(number):
            payload = self._payload(len(self._written))
            self._counts[payload["key"]] += 1
            self._written.append(payload)
            yield payload

    def _next_aborted(self, number: int) -> Iterator[Payload]:
        for _ in range(number):
            self._aborted += 1
            yield self._payload(-self._aborted)

    def _payload(self, one: int) -> Payload:
        key = one % KEYS
        return {
            "id": one,
            "key": key,
            "number": self._counts[key],
            "results": one // KEYS % 4,
            "fails": one % FAILS == 0,
            "failures": int(bool(self.tiers) and one % RETRIED == 0),
        }

    def _send(self, producer: Producer, payloads: Iterable[Payload]) -> None:
        for payload in payloads:
            key, value = payload["key"], json.dumps(payload).encode()
            producer.produce(self.spec.source, value, b"%d" % key, key % PARTITIONS)
            producer.poll(0)

    def open(self) -> list[str]:
        """Partitions of which readers of committed records do not see the end."""
        places = self._places(self.spec.target, self.dead, *self.tiers)
        committed = self._ends(places, IsolationLevel.READ_COMMITTED)
        there = self._ends(places, IsolationLevel.READ_UNCOMMITTED)
        found = zip(places, committed, there, strict=True)
        return [f"{one.topic}[{one.partition}]" for one, end, last in found if end != last]

    def _places(self, *topics: str) -> list[Place]:
        return [Place(topic, number) for topic in topics for number in range(PARTITIONS)]

    def _ends(self, places: Sequence[Place], level: IsolationLevel) -> list[int]:
        asked = dict.fromkeys(places, OffsetSpec.latest())
        told = self._admin.list_offsets(asked, isolation_level=level)
        return [told[place].result().offset for place in places]


@contextmanager
def started(cluster: KafkaCluster) -> Iterator[str]:
    with cluster:
        yield cluster.address


def trapped(
    story: Story, moment: str, times: int, number: str = "SIGKILL", instance: str | None = "one"
) -> Worker:
    """Start a worker that gets a signal at this moment."""
    program = ("tests.system.killed", number, moment, str(times))
    changes = {} if instance is None else {"instance": instance}
    return replace(story.spec, program=program).worker(**changes)


def _hanging(address: str, node: int) -> list[str]:
    arguments = ["--bootstrap-server", address, "find-hanging", "--broker-id", str(node)]
    done = find_kafka().tool(TRANSACTIONS, [*arguments, "--max-transaction-timeout", "0"])
    head, *lines = done.stdout.decode().splitlines()
    assert head.startswith("Topic"), (head, done.stderr)
    return lines


def _out_of_order(results: Sequence[Payload]) -> list[tuple[int, int]]:
    """Key and number of results that came behind one of a later message, or slot."""
    last: dict[int, tuple[int, int]] = defaultdict(lambda: (-1, -1))
    found = []
    for one in results:
        place = one["number"], one["slot"]
        if place <= last[one["key"]]:
            found.append((one["key"], one["number"]))
        last[one["key"]] = place
    return found


def _slots(payload: Payload) -> range:
    return range(0 if payload["fails"] else payload["results"])


def _value(record: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.value() or b"")
    return found
