"""Coordinators of transactions that are lost, or stand still, while a worker commits."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coordinators import TRANSACTIONS, coordinator
from tests.system.exactly import NODES, SOON, Story, started, trapped
from tests.system.rig import Kafka, Worker
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

QUICK = {
    "network": {"read_timeout": "1200ms", "write_timeout": "1200ms"},
    "consumer": {"max_wait": "100ms"},
}
STILL = 4.0
"""Seconds for which a coordinator stands still: longer than a request may take, which is looked at
once a second."""


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    made = KafkaCluster(NODES, heap="192m", properties=SOON)
    with real(lambda: started(made)):
        yield made


def until_it_commits(worker: Worker) -> None:
    worker.until(worker.is_stopped)


@pytest.mark.long
@pytest.mark.parametrize("moment", ["offsets", "end"])
def test_a_transaction_whose_coordinator_is_killed_as_it_is_committed_counts_once(
    cluster: KafkaCluster, tmp_path: Path, moment: str
) -> None:
    story = Story(Kafka(cluster.address), tmp_path)
    story.write(3_000)

    with trapped(story, moment, 3, "SIGSTOP") as worker:
        until_it_commits(worker)
        cluster.kill_node(coordinator(cluster.address, TRANSACTIONS, f"{story.spec.group}.one.0"))
        worker.send(signal.SIGCONT)
        until_it_commits(worker)
        worker.send(signal.SIGKILL)
    cluster.start()
    story.go_through()

    assert story.faults() == {}
    assert story.hanging(range(NODES)) == []


@pytest.mark.parametrize("times", [3, pytest.param(200, marks=pytest.mark.long)])
def test_transactions_whose_coordinator_stands_still_as_they_are_committed_count_once(
    cluster: KafkaCluster, tmp_path: Path, times: int
) -> None:
    story = Story(Kafka(cluster.address), tmp_path, client=QUICK)

    with trapped(story, "end", 3, "SIGSTOP") as worker:
        story.write(400)
        until_it_commits(worker)
        while worker.log.count("as a transaction ended") < times:
            node = coordinator(cluster.address, TRANSACTIONS, f"{story.spec.group}.one.0")
            cluster.pause_node(node)
            worker.send(signal.SIGCONT)
            time.sleep(STILL)
            cluster.resume_node(node)
            story.write(400)
            until_it_commits(worker)
        worker.send(signal.SIGKILL)
    story.go_through()

    assert story.faults() == {}
    assert story.hanging(range(NODES)) == []
