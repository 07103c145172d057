"""Signals to a worker that has not begun, or whose group waits for a member that never polls."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.system.rig import Kafka, Spec, free_port, ids, is_through, numbered

pytestmark = pytest.mark.kafka

FOREVER = 7_200_000
EAGER = {"rebalance": "range", "session_timeout": "6s", "heartbeat": "1s"}


@contextmanager
def wedge(kafka: Kafka, spec: Spec) -> Iterator[Consumer]:
    """A member that has polled until the group knew of it, and may be silent for hours."""
    member = Consumer(
        {
            "bootstrap.servers": kafka.address,
            "group.id": spec.group,
            "partition.assignment.strategy": "range",
            "max.poll.interval.ms": FOREVER,
        }
    )
    owned: list[TopicPartition] = []
    member.subscribe([spec.source], on_assign=lambda _client, places: owned.extend(places))
    while not owned:
        member.poll(0.1)
    yield member
    member.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_that_waits_for_its_brokers(
    tmp_path: Path, number: signal.Signals
) -> None:
    spec = Spec(Kafka(f"127.0.0.1:{free_port()}"), tmp_path, "echo")

    with spec.worker() as worker:
        worker.until(lambda: worker.codes() == ["starting"])
        worker.send(number)
        assert worker.ended() == 0

    assert "Traceback" not in worker.log


def test_a_signal_ends_a_worker_that_its_group_does_not_let_in(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", client={"group": EAGER})
    spec.create_topics()

    with wedge(kafka, spec), spec.worker() as worker:
        worker.until(lambda: worker.codes() == ["not_joined"])
        assert worker.stop() == 0, worker.log

    assert "Traceback" not in worker.log


def test_a_worker_that_is_stopped_while_its_group_waits_for_another_has_committed_everything(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo_slowly", client={"group": EAGER})
    spec.create_topics()

    with wedge(kafka, spec) as silent, spec.worker() as first:
        while not first.owned():
            silent.poll(0.1)
        kafka.produce(spec.source, numbered(400))
        first.until_handled(100)
        with spec.worker() as second:  # so that the group waits for all
            second.until(lambda: second.codes() == ["not_joined"])
            assert first.stop() == 0, first.log
            assert second.stop() == 0, second.log
    with spec.worker() as last:
        last.until(lambda: is_through(kafka, spec, 400))
        assert last.stop() == 0, last.log

    assert sorted(ids(kafka.read(spec.target))) == list(range(400))
