"""Where dead letters go on a real Kafka, and what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from tests.system.rig import Kafka, Spec, ids
from worker.flow.deadletter import LEAST_LIMIT
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings, TopicSettings

pytestmark = pytest.mark.kafka

HEADERS: list[tuple[str, str | bytes | None]] = [
    ("authorization", b"token"),
    ("X-User", b"me"),
    ("traceparent", b"00-1"),
]


def payload(number: int) -> dict[str, Any]:
    """One in ten fails with each of two exceptions, and some are too large for a small topic."""
    errors = {1: "KeyError", 2: "OSError"}
    error = {"error": errors[number % 10]} if number % 10 in errors else {}
    return {"id": number, "text": "x" * (8_000 if number % 20 == 1 else 10), **error}


def write(kafka: Kafka, topic: str, numbers: range) -> None:
    producer = kafka.producer()
    for number in numbers:
        producer.produce(topic, json.dumps(payload(number)), str(number), headers=HEADERS)
    assert producer.flush(30) == 0


def headers_of(letter: Message) -> dict[str, bytes]:
    """Its headers, all of which have a value."""
    headers = {}
    for name, value in dict(letter.headers() or []).items():
        assert isinstance(value, bytes)
        headers[name] = value
    return headers


def test_exceptions_go_to_topics_of_their_own_without_payload_and_secrets(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "fail")
    default, keys, system = (f"{spec.name}.{name}" for name in ("dlq", "keys", "system"))
    spec.settings = {
        "dead_letter": {
            "default": default,
            "by": {"LookupError": keys, "builtins.OSError": system, "undecodable": default},
            "stack": True,
            "redact": {"value": True, "headers": ["Authorization", "x-*"]},
        }
    }
    spec.create_topics()
    kafka.create(default, keys, system)
    write(kafka, spec.source, range(1_000))
    kafka.produce(spec.source, [(b"1000", b"no json", -1)])

    with spec.worker() as worker:
        worker.until(lambda: sum(kafka.committed(spec.group, spec.source)) == 1_001)
        assert worker.stop() == 0, worker.log

    read = kafka.read(spec.source)
    number_at = {(m.partition(), m.offset()): int(m.key() or b"") for m in read}
    for topic, rest, error in ((keys, 1, b"KeyError"), (system, 2, b"OSError")):
        letters = kafka.read(topic)
        assert sorted(int(letter.key() or b"") for letter in letters) == list(
            range(rest, 1_000, 10)
        )
        for letter in letters:
            headers = headers_of(letter)
            place = int(headers["dlq.partition"]), int(headers["dlq.offset"])
            assert number_at[place] == int(letter.key() or b"")
            assert letter.value() == b""
            assert headers["dlq.error"] == error
            assert headers["dlq.redacted"] == b"value,headers.authorization,headers.X-User"
            assert headers["traceparent"] == b"00-1"
            assert {"authorization", "X-User", "dlq.message"}.isdisjoint(headers)
            assert headers["dlq.stack"].endswith(b"\n" + error + b"\n")
            assert b"in fail" in headers["dlq.stack"]
    (undecodable,) = kafka.read(default)
    assert headers_of(undecodable)["dlq.reason"] == b"undecodable"
    handled = [number for number in range(1_000) if number % 10 not in (1, 2)]
    assert sorted(ids(kafka.read(spec.target))) == handled


def test_what_is_too_large_for_the_topic_of_its_exception_is_cut_until_brokers_take_it(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "fail")
    default, small = f"{spec.name}.dlq", f"{spec.name}.small"
    by = {"KeyError": small}
    spec.settings = {
        "dead_letter": {"default": default, "by": by, "stack": True, "message": True},
    }
    spec.create_topics()
    kafka.create(default)
    KafkaAdmin(KafkaSettings(brokers=[kafka.address])).create(
        {small: TopicSettings(partitions=1, config={"max.message.bytes": LEAST_LIMIT})}
    )
    write(kafka, spec.source, range(200))

    with spec.worker() as worker:
        worker.until(lambda: sum(kafka.committed(spec.group, spec.source)) == 200)
        assert worker.stop() == 0, worker.log

    letters = {int(letter.key() or b""): letter for letter in kafka.read(small)}
    assert sorted(letters) == list(range(1, 200, 10))
    for number, letter in letters.items():
        truncated = headers_of(letter).get("dlq.truncated", b"")
        is_large = number % 20 == 1
        assert (b"payload" in truncated) == is_large
        assert letter.value() == (b"" if is_large else json.dumps(payload(number)).encode())
    assert sorted(ids(kafka.read(default))) == list(range(2, 200, 10))
