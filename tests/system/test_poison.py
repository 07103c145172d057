"""A message that ends the worker, on a real Kafka: how soon it is a dead letter, and alone."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, ids, is_through, numbered

pytestmark = pytest.mark.kafka

RECORDS = 2_000
POISON = 101
"""With so few in front of it, trying each alone takes far less than `crashes.PATIENCE`."""
UNMOVED = {"instance": "one", "commit": {"interval": "3s"}}
"""The worker ends before it has committed anything of its own: otherwise a start counts anew."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "partition": UNMOVED,
    "key": {**UNMOVED, "ordering": "key", "concurrency": 8},
}


def with_poison() -> list[tuple[bytes, bytes, int]]:
    return [
        (key, json.dumps({"id": n, "abort": n == POISON}).encode(), partition)
        for n, (key, _, partition) in enumerate(numbered(RECORDS))
    ]


def starts_until_through(kafka: Kafka, spec: Spec, **changes: Any) -> int:
    """How often a worker is started until everything is through."""
    for number in range(1, 10):
        with spec.worker(**changes) as worker:
            try:
                worker.until(lambda: is_through(kafka, spec, RECORDS))
            except AssertionError as ended:
                if "the worker ended with" not in str(ended):
                    raise
                assert worker.ended() == -signal.SIGABRT
                continue
            assert worker.stop() == 0
            return number
    raise AssertionError("it is never through")


@pytest.mark.parametrize("way", WAYS)
def test_a_message_that_aborts_is_a_dead_letter_within_three_restarts(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "abort")
    spec.settings = {"dead_letter": f"{spec.name}.dlq", **WAYS[way]}
    spec.create_topics()
    kafka.create(f"{spec.name}.dlq", partitions=1)
    kafka.produce(spec.source, with_poison())

    starts = starts_until_through(kafka, spec)

    (dead,) = kafka.read(f"{spec.name}.dlq")
    assert starts <= 4
    assert ids([dead]) == [POISON]
    assert dict(dead.headers() or ())["dlq.reason"] == b"crash"
    assert set(ids(kafka.read(spec.target))) == set(range(RECORDS)) - {POISON}
    assert notes(kafka, spec) == [""] * 4


def test_an_async_handler_that_aborts_takes_four_more(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "abort_async")
    spec.settings = {"dead_letter": f"{spec.name}.dlq", **WAYS["key"]}
    spec.create_topics()
    kafka.create(f"{spec.name}.dlq", partitions=1)
    kafka.produce(spec.source, with_poison())

    starts = starts_until_through(kafka, spec)

    assert starts <= 8
    assert ids(kafka.read(f"{spec.name}.dlq")) == [POISON]
    assert set(ids(kafka.read(spec.target))) == set(range(RECORDS)) - {POISON}


def test_a_kill_leaves_no_trace(kafka: Kafka, tmp_path: Path) -> None:
    spec = Spec(kafka, tmp_path, "echo_slowly")
    spec.create_topics()
    kafka.produce(spec.source, numbered(RECORDS))
    with spec.worker() as first:
        first.until_handled(100)
        first.kill()
    seen: list[tuple[int, int | None]] = []

    with spec.worker() as second:

        def is_done() -> bool:
            partitions = second.pipeline().get("partitions", ())
            seen.extend((one["starts"], one["suspect"]) for one in partitions)
            return is_through(kafka, spec, RECORDS)

        second.until(is_done)
        assert second.stop() == 0

    assert max(seen)[0] <= 1
    assert {suspect for _, suspect in seen} == {None}
    assert notes(kafka, spec) == [""] * 4
    assert set(ids(kafka.read(spec.target))) == set(range(RECORDS))


def notes(kafka: Kafka, spec: Spec) -> list[str]:
    """What is written beside the committed offsets."""
    return [place.metadata or "" for place in kafka._committed(spec.group, spec.source, 4)]
