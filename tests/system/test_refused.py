"""Records that a real broker will never take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.system.rig import Kafka, Spec, ids
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings, TopicSettings

pytestmark = pytest.mark.kafka

DAY = 86_400_000
"""Milliseconds."""


DELIVERIES = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])


def spec_of(kafka: Kafka, folder: Path, handler: str, settings: Mapping[str, Any]) -> Spec:
    """A spec with dead letters whose source takes records of any time."""
    spec = Spec(kafka, folder, handler, settings)
    dead_letter = f"{spec.name}.dlq"
    spec.settings = {**settings, "dead_letter": dead_letter}
    create(kafka, spec.source, {"message.timestamp.after.max.ms": str(10**15)})
    kafka.create(spec.target, dead_letter, partitions=1)
    return spec


def create(kafka: Kafka, topic: str, config: Mapping[str, str]) -> None:
    client = AdminClient({"bootstrap.servers": kafka.address})
    for future in client.create_topics([NewTopic(topic, 1, 1, config=dict(config))]).values():
        future.result()


def write(kafka: Kafka, topic: str, messages: int, in_the_future: Collection[int]) -> None:
    now = int(time.time() * 1000)
    producer = kafka.producer()
    for one in range(messages):
        ahead = 2 * DAY if one in in_the_future else 0
        producer.produce(topic, b'{"id":%d}' % one, timestamp=now + ahead)
    assert producer.flush(30) == 0


def dead_lettered(kafka: Kafka, spec: Spec, records: int) -> Sequence[Message]:
    """The dead letters once the pipeline is through; every other record has become a result."""
    with spec.worker() as worker:
        worker.until(lambda: kafka.committed(spec.group, spec.source, 1) == [records])
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log
    letters = kafka.read(f"{spec.name}.dlq")
    assert set(ids(kafka.read(spec.target))) | set(ids(letters)) == set(range(records))
    assert not set(ids(kafka.read(spec.target))) & set(ids(letters))
    return letters


@DELIVERIES
@pytest.mark.parametrize("bad", [{50}, {50, 60, 299}], ids=["one", "three"])
def test_results_dated_in_the_future_become_dead_letters_and_their_neighbours_results(
    kafka: Kafka, tmp_path: Path, delivery: str, bad: Collection[int]
) -> None:
    spec = spec_of(kafka, tmp_path, "echo", {"timestamps": "source", "delivery": delivery})
    write(kafka, spec.source, 300, bad)

    letters = dead_lettered(kafka, spec, 300)

    assert Counter(ids(letters)) == dict.fromkeys(bad, 1)
    headers = [dict(letter.headers() or []) for letter in letters]
    assert {one["dlq.reason"] for one in headers} == {b"unencodable"}
    why = f"cannot deliver to {spec.target}: INVALID_TIMESTAMP: "
    assert all(why in str(one["dlq.message"]) for one in headers)


@DELIVERIES
def test_a_result_without_a_key_for_a_compacted_topic_is_the_only_one_that_becomes_a_dead_letter(
    kafka: Kafka, tmp_path: Path, delivery: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo", {"delivery": delivery})
    spec.settings = {**spec.settings, "dead_letter": f"{spec.name}.dlq"}
    kafka.create(spec.source, f"{spec.name}.dlq", partitions=1)
    create(kafka, spec.target, {"cleanup.policy": "compact"})
    keys = [None if one == 7 else b"key" for one in range(100)]
    kafka.produce(spec.source, ((key, b'{"id":%d}' % one, 0) for one, key in enumerate(keys)))

    letters = dead_lettered(kafka, spec, 100)

    assert ids(letters) == [7]


@DELIVERIES
def test_without_dead_letters_the_message_is_named_whose_result_is_refused(
    kafka: Kafka, tmp_path: Path, delivery: str
) -> None:
    spec = spec_of(kafka, tmp_path, "echo", {"timestamps": "source", "delivery": delivery})
    spec.settings = {name: it for name, it in spec.settings.items() if name != "dead_letter"}
    write(kafka, spec.source, 100, {50})

    with spec.worker() as worker:
        assert worker.ended() == 1

    assert f"{spec.source}[0]@50) could not be handled: unencodable" in worker.log
    assert f"cannot deliver to {spec.target}: INVALID_TIMESTAMP: " in worker.log
    assert "KafkaError{" not in worker.log


def test_results_for_partitions_that_do_not_exist_become_dead_letters(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = spec_of(kafka, tmp_path, "stray", {})
    payloads = [
        b'{"id":%d,"stray":%s}' % (one, b"true" if one % 25 == 0 else b"false")
        for one in range(100)
    ]
    kafka.produce(spec.source, ((None, payload, 0) for payload in payloads))

    letters = dead_lettered(kafka, spec, 100)

    assert Counter(ids(letters)) == {0: 1, 25: 1, 50: 1, 75: 1}


def test_records_for_a_topic_with_a_smaller_limit_than_that_of_results_are_delivered(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = spec_of(kafka, tmp_path, "forward", {})
    small = f"{spec.name}.small"
    spec.top = {"topics": {small: {}}}
    KafkaAdmin(KafkaSettings(brokers=[kafka.address])).create(
        {small: TopicSettings(partitions=1, config={"max.message.bytes": 2_000})}
    )
    payload = b'{"id":%d,"topic":"%s","text":"%s"}'
    kafka.produce(
        spec.source,
        ((None, payload % (one, small.encode(), b"x" * 200), 0) for one in range(300)),
    )

    with spec.worker() as worker:
        worker.until(lambda: kafka.committed(spec.group, spec.source, 1) == [300])
        assert worker.stop() == 0

    assert ids(kafka.read(small)) == list(range(300))
