"""Topics that are deleted while a worker uses them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.exactly import NODES, started
from tests.system.rig import Kafka, Spec, Worker, ids, is_through, numbered
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka


def test_a_dead_letter_topic_that_was_deleted_holds_the_offsets_until_it_is_made_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    client = {"producer": {"delivery_timeout": "3s"}, "metadata": {"refresh": "1s"}}
    spec = Spec(kafka, tmp_path, "refuse", client=client)
    dead_letter = f"{spec.name}.dlq"
    spec.settings = {"dead_letter": dead_letter}
    spec.create_topics()
    kafka.create(dead_letter)

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        kafka.delete(dead_letter)
        kafka.produce(spec.source, numbered(20))
        worker.until(lambda: worker.pipeline().get("blocked"))
        assert sum(max(0, o) for o in kafka.committed(spec.group, spec.source)) == 0
        kafka.create(dead_letter)
        worker.until(lambda: is_through(kafka, spec, 20))
        worker.until(worker.is_ready)
        assert worker.stop() == 0

    assert set(ids(kafka.read(dead_letter))) == set(range(20))


def test_a_source_that_was_deleted_is_named_until_it_is_there_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    client = {"metadata": {"refresh": "1s"}}
    spec = Spec(kafka, tmp_path, "echo", {"on_offset_lost": "oldest"}, client=client)
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        kafka.delete(spec.source)
        worker.until(worker.codes)
        assert worker.get("/readyz")["reasons"] == [
            {
                "code": "no_topic",
                "text": f"pipeline: topics to read do not exist: {spec.source}",
                "pipeline": "pipeline",
            }
        ]
        kafka.create(spec.source)
        kafka.produce(spec.source, numbered(20))
        worker.until(lambda: worker.count("produced") >= 20)
        worker.until(worker.is_ready)
        assert worker.stop() == 0

    assert set(ids(kafka.read(spec.target))) == set(range(20))


@contextmanager
def reading(folder: Path, **settings: Any) -> Iterator[tuple[Spec, Worker]]:
    """A worker that has read five messages of a source that had another leader before.

    In the end it has to have read twenty of one that was made anew.
    """
    cluster = KafkaCluster()
    with real(lambda: started(cluster)) as address:
        kafka = Kafka(address)
        spec = Spec(kafka, folder, "echo", {"on_offset_lost": "oldest"}, **settings)
        spec.create_topics()
        cluster.kill_node(0)
        cluster.start()
        kafka.produce(spec.source, numbered(5))

        with spec.worker() as worker:
            worker.until(lambda: is_through(kafka, spec, 5))
            worker.until(worker.is_ready)
            yield spec, worker
            worker.until(lambda: is_through(kafka, spec, 20))
            worker.until(worker.is_ready)
            assert worker.stop() == 0

        assert len(kafka.read(spec.target)) == 25


@pytest.mark.parametrize("refresh", ["1s", "300s"])
def test_a_source_that_is_made_anew_is_read_though_its_leader_was_another_before(
    tmp_path: Path, refresh: str
) -> None:
    """The client takes a leader of an earlier epoch for outdated.

    That the source is gone it tells of the subscription, or of the partitions alone, whichever it
    finds first.
    """
    with reading(tmp_path, client={"metadata": {"refresh": refresh}}) as (spec, worker):
        spec.kafka.delete(spec.source)
        worker.until(lambda: worker.codes() == ["no_topic"])
        spec.kafka.create(spec.source)
        spec.kafka.produce(spec.source, numbered(20))


def test_a_source_that_is_made_anew_before_anybody_has_missed_it_is_read_by_a_new_client(
    tmp_path: Path,
) -> None:
    """The client takes the leader for outdated, though the topic has another id."""
    quick = ("tests.system.silent", "never", str(tmp_path / "never"))
    with reading(tmp_path, program=quick) as (spec, worker):
        worker.silenced = True
        worker.send(signal.SIGSTOP)
        spec.kafka.delete(spec.source)
        spec.kafka.create(spec.source)
        worker.send(signal.SIGCONT)
        spec.kafka.produce(spec.source, numbered(20))
        worker.until(lambda: worker.pipeline()["counts"]["repairs"].get("renew") == 1)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_results_go_to_a_topic_that_is_made_anew_with_another_leader_before_anybody_has_missed_it(
    tmp_path: Path, delivery: str
) -> None:
    """The client writes to the leader that it knows until the records have timed out."""
    cluster = KafkaCluster(NODES, heap="192m")
    with real(lambda: started(cluster)) as address:
        kafka = Kafka(address)
        client = {"producer": {"delivery_timeout": "3s"}}
        settings = {"delivery": delivery}
        spec = Spec(kafka, tmp_path, "echo", settings, client=client)
        kafka.create(spec.source)
        kafka.create_on(spec.target, 0)
        cluster.kill_node(0)
        cluster.start()

        with spec.worker() as worker:
            kafka.produce(spec.source, numbered(5))
            worker.until(lambda: is_through(kafka, spec, 5))
            kafka.delete(spec.target)
            kafka.create_on(spec.target, 1)
            kafka.produce(spec.source, numbered(20))
            worker.until(lambda: is_through(kafka, spec, 25))
            worker.until(worker.is_ready)
            assert worker.count("delivery_failures") > 0
            assert worker.stop() == 0

        assert set(ids(kafka.read(spec.target))) == set(range(20))
