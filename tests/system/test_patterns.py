"""Pipelines that read the topics that match a pattern, under both protocols."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, ids
from tests.system.test_new_partitions import client

pytestmark = pytest.mark.kafka

in_both_protocols = pytest.mark.parametrize("way", ["sticky", "range", "consumer"])


def records(first: int, number: int) -> Iterator[tuple[bytes, bytes, int]]:
    for one in range(first, first + number):
        yield b"%d" % one, b'{"id":%d}' % one, -1


@in_both_protocols
def test_topics_that_match_wholly_are_read_and_later_ones_from_their_oldest_message(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo", client=client(way))
    pattern, named = f"^{spec.name}-(a|b)", f"{spec.name}-named"
    spec.settings = {"from": [pattern, named], "start": "newest"}
    there, later, longer = f"{spec.name}-a", f"{spec.name}-b", f"{spec.name}-ab"
    kafka.create(there, longer, named, spec.target, partitions=2)
    for topic in (there, longer, named):
        kafka.produce(topic, records(0, 20))

    with spec.worker() as worker:
        worker.until(lambda: worker.owned() == 4)
        worker.send(signal.SIGSTOP)  # the messages are there when the topic is found
        kafka.create(later, partitions=2)
        kafka.produce(later, records(20, 20))
        kafka.produce(there, records(40, 20))
        kafka.produce(named, records(60, 20))
        worker.send(signal.SIGCONT)
        worker.until(lambda: worker.owned() == 6)
        worker.until_handled(60)
        assert worker.stop() == 0

    assert set(ids(kafka.read(spec.target))) == set(range(20, 80))
    assert sum(kafka.committed(spec.group, later, 2)) == 20


@in_both_protocols
def test_a_pattern_that_matches_nothing_is_waited_for_and_the_first_topic_is_read_from_its_oldest(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo", client=client(way))
    pattern, topic = f"^{spec.name}-.*", f"{spec.name}-1"
    spec.settings = {"from": pattern, "start": "newest"}
    kafka.create(spec.target)

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.pipeline()["unmatched"] == [pattern]
        assert worker.pipeline()["last_error"] is None
        worker.send(signal.SIGSTOP)
        kafka.create(topic, partitions=2)
        kafka.produce(topic, records(0, 20))
        worker.send(signal.SIGCONT)
        worker.until_handled(20)
        worker.until(lambda: worker.pipeline()["unmatched"] == [])
        assert worker.stop() == 0
        assert f"no topic matches {pattern} yet" in worker.log

    assert set(ids(kafka.read(spec.target))) == set(range(20))


@in_both_protocols
def test_topics_of_kafka_itself_are_left_out(kafka: Kafka, tmp_path: Path, way: str) -> None:
    spec = Spec(kafka, tmp_path, "echo", client=client(way))
    kept, internal = f"{spec.name}-kept", f"__{spec.name}-kept"
    spec.settings = {"from": f"^_*{spec.name}-kept"}
    kafka.create(kept, internal, spec.target, partitions=2)
    kafka.produce(internal, records(0, 10))
    kafka.produce(kept, records(10, 10))

    with spec.worker() as worker:
        worker.until_handled(10)
        assert worker.owned() == 2
        assert worker.stop() == 0

    assert set(ids(kafka.read(spec.target))) == set(range(10, 20))
