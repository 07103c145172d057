"""Partitions that are added to a topic, and those with which a group begins."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, ids
from tests.system.test_rebalances import GROUPS
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

NEWEST = {"start": "newest"}


@pytest.fixture(scope="module")
def gathering_kafka() -> Iterator[Kafka]:
    """A Kafka that waits for further members before it lets a group begin."""
    with real(partial(running, {"group.initial.rebalance.delay.ms": "3000"})) as address:
        yield Kafka(address)


@contextmanager
def running(properties: dict[str, str]) -> Iterator[str]:
    with KafkaCluster(properties=properties) as cluster:
        yield cluster.address


def client(way: str) -> dict[str, Any]:
    return {"group": GROUPS[way], "metadata": {"refresh": "500ms"}}


def spread(first: int, number: int, partitions: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Records in turn over so many partitions."""
    for one in range(first, first + number):
        yield b"%d" % one, b'{"id":%d}' % one, one % partitions


@pytest.mark.parametrize("way", ["sticky", "range", "consumer"])
def test_members_that_begin_a_group_at_once_at_newest_read_nothing_old_and_miss_nothing_new(
    gathering_kafka: Kafka, tmp_path: Path, way: str
) -> None:
    kafka = gathering_kafka
    spec = Spec(kafka, tmp_path, "echo", NEWEST, client=client(way))
    kafka.create(spec.source, spec.target, partitions=6)
    kafka.produce(spec.source, spread(0, 600, 6))

    with ExitStack() as stack:
        members = [stack.enter_context(spec.worker()) for _ in range(3)]
        members[0].until(lambda: any(one.owned() for one in members))
        kafka.produce(spec.source, spread(600, 60, 6))
        members[0].until(lambda: sum(kafka.ends(spec.target, 6)) >= 60)
        members[0].until(lambda: [one.owned() for one in members] == [2, 2, 2])
        assert [one.stop() for one in members] == [0, 0, 0]

    assert set(ids(kafka.read(spec.target))) == set(range(600, 660))
    assert kafka.committed(spec.group, spec.source, 6) == [110] * 6


@pytest.mark.parametrize("way", ["sticky", "consumer"])
def test_partitions_that_are_added_are_read_from_their_oldest_message(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo", NEWEST, client=client(way))
    kafka.create(spec.source, spec.target, partitions=2)
    kafka.produce(spec.source, spread(0, 10, 2))

    with spec.worker() as worker:
        worker.until(lambda: worker.owned() == 2)
        worker.send(signal.SIGSTOP)  # messages are there when the partitions are found
        kafka.grow(spec.source, 4)
        kafka.produce(spec.source, spread(10, 40, 4))
        worker.send(signal.SIGCONT)
        worker.until(lambda: worker.owned() == 4)
        worker.until_handled(40)
        assert worker.stop() == 0

    assert set(ids(kafka.read(spec.target))) == set(range(10, 50))
