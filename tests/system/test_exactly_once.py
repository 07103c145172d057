"""Exactly once on a real Kafka: results, dead letters, retries, offsets together or not at all."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.exactly import ALONE, NODES, SOON, Story, started, trapped
from tests.system.killed import IN_TRANSACTIONS, OPEN, TOLD
from tests.system.rig import Kafka
from tests.system.test_rebalances import GROUPS
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

EACH, FEW = 1_000, 200
"""Messages that are written for each kill; and where there are many, so that the last worker is
through in time.
"""
PER_MESSAGE = ("consumed", "send", "sent", "stored")
WAYS: dict[str, dict[str, Any]] = {
    "keys in parallel": {},
    "partitions": {"ordering": "partition"},
    "batches": {"handler": "give_slots_in_batches", "ordering": "partition"},
    "processes": {
        "handler": "give_slots_in_processes",
        "pool": "process",
        "concurrency": 2,
    },
    "retry topics": {"retry": {"topics": ["1s", "2s"], "on": ["ConnectionError"]}},
}


SAMPLED = ("keys in parallel", "retry topics")
"""Those that are tried each time: the others take a minute each."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kafka]:
    """Three brokers, of which two have to have what is acknowledged."""
    made = KafkaCluster(NODES, heap="192m", properties=SOON)
    with real(lambda: started(made)) as address:
        yield Kafka(address)


def shared_out(some: set[str], others: set[str]) -> bool:
    """Whether two members have partitions, and none has one of the other, as each believes."""
    return bool(some and others) and some.isdisjoint(others)


def killed(story: Story, moment: str, chance: random.Random, messages: int = EACH) -> bool:
    """Run a worker until it is killed at this moment; whether a transaction was open."""
    story.write(messages)
    times = chance.randint(1, 100 if moment in PER_MESSAGE else 3)
    with trapped(story, moment, times) as worker:
        assert worker.ended() == -signal.SIGKILL, worker.log
        return TOLD in worker.log


@pytest.mark.parametrize(
    "way",
    [way if way in SAMPLED else pytest.param(way, marks=pytest.mark.long) for way in WAYS],
)
def test_what_a_worker_leaves_that_is_killed_at_any_moment_counts_once(
    cluster: Kafka, tmp_path: Path, way: str
) -> None:
    story, chance = Story(cluster, tmp_path, **WAYS[way]), random.Random(way)

    for moment in ("consumed", *IN_TRANSACTIONS):
        killed(story, moment, chance)
    story.go_through()

    assert story.faults() == {}
    assert story.hanging(range(NODES)) == []


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("moment", OPEN)
def test_two_hundred_transactions_whose_worker_is_killed_count_once(
    cluster: Kafka, tmp_path: Path, moment: str
) -> None:
    story, chance = Story(cluster, tmp_path, **WAYS["retry topics"]), random.Random(moment)

    hits = 0
    while hits < 200 // len(OPEN):
        hits += killed(story, moment, chance, FEW)
    story.go_through()

    assert story.faults() == {}
    assert story.hanging(range(NODES)) == []


def test_what_comes_through_two_pipelines_of_a_worker_that_is_killed_counts_once(
    cluster: Kafka, tmp_path: Path
) -> None:
    story, chance = Story(cluster, tmp_path), random.Random("two")
    story.chain()

    for moment in ("sent", "offsets", "end", "ending"):
        killed(story, moment, chance)
    story.go_through()

    assert story.faults() == {}


@pytest.mark.parametrize("moment", [pytest.param("revoke", marks=pytest.mark.long), "revoked"])
def test_what_a_worker_leaves_that_is_killed_as_it_gives_partitions_back_counts_once(
    cluster: Kafka, tmp_path: Path, moment: str
) -> None:
    story = Story(cluster, tmp_path)
    story.write(5 * EACH)

    with trapped(story, moment, 1) as first:
        first.until(lambda: first.count("handled"))
        with story.spec.worker(instance="two") as second:
            assert first.ended() == -signal.SIGKILL, first.log
            second.until(story.is_through)
            assert second.stop() == 0, second.log

    assert story.faults() == {}


def test_what_a_worker_leaves_that_is_killed_as_it_stops_counts_once(
    cluster: Kafka, tmp_path: Path
) -> None:
    story = Story(cluster, tmp_path)
    story.write(2 * EACH)

    with trapped(story, "close", 1) as worker:
        worker.until(lambda: worker.count("handled"))
        worker.send(signal.SIGTERM)
        assert worker.ended() == -signal.SIGKILL, worker.log
    story.go_through()

    assert story.faults() == {}


@pytest.mark.parametrize("moment", [pytest.param("stored", marks=pytest.mark.long), "end"])
def test_of_a_worker_that_stood_still_while_others_took_over_nothing_counts_and_it_goes_on(
    cluster: Kafka, tmp_path: Path, moment: str
) -> None:
    story = Story(cluster, tmp_path, **WAYS["retry topics"])
    story.write(3 * EACH)

    with trapped(story, moment, 3, "SIGSTOP", None) as zombie, story.spec.worker() as heir:
        zombie.until(zombie.is_stopped)
        heir.until(story.is_through)
        zombie.send(signal.SIGCONT)
        zombie.until(lambda: shared_out(zombie.places(), heir.places()))
        zombie.send(signal.SIGTERM)
        assert zombie.ended() == 0, zombie.log
        story.write(EACH)
        heir.until(story.is_through)
        assert heir.stop() == 0, heir.log

    assert story.faults() == {}


def test_a_worker_whose_identity_was_taken_over_while_it_stood_still_ends_and_says_so(
    cluster: Kafka, tmp_path: Path
) -> None:
    story = Story(cluster, tmp_path)
    story.write(3 * EACH)

    with trapped(story, "end", 3, "SIGSTOP") as zombie:
        zombie.until(zombie.is_stopped)
        with story.spec.worker(**ALONE) as heir:
            heir.until(story.is_through)
            zombie.send(signal.SIGCONT)
            assert zombie.ended() == 3, zombie.log
            story.write(EACH)
            heir.until(story.is_through)
            assert heir.stop() == 0, heir.log

    assert story.faults() == {}


def test_a_worker_that_only_stood_still_for_longer_than_its_transaction_may_goes_on(
    cluster: Kafka, tmp_path: Path
) -> None:
    story = Story(cluster, tmp_path, client={"group": {"session_timeout": "40s"}})
    story.write(3 * EACH)

    with trapped(story, "end", 20, "SIGSTOP") as worker:
        worker.until(worker.is_stopped)
        assert story.open()
        worker.until(lambda: not story.open())
        worker.send(signal.SIGCONT)
        worker.until(lambda: worker.is_stopped() or worker.count("rewinds"))
        worker.send(signal.SIGKILL)
    story.go_through()

    assert story.faults() == {}


@pytest.mark.parametrize(
    "rounds", [3, pytest.param(20, marks=pytest.mark.long)], ids=["a few", "many"]
)
@pytest.mark.parametrize(
    "way", ["sticky", pytest.param("range", marks=pytest.mark.long), "consumer"]
)
def test_messages_count_once_while_members_join_and_leave_all_the_time(
    cluster: Kafka, tmp_path: Path, way: str, rounds: int
) -> None:
    story = Story(cluster, tmp_path, client={"group": GROUPS[way]}, **WAYS["retry topics"])

    with story.spec.worker() as host:
        for _ in range(rounds):
            story.write(EACH)
            with story.spec.worker() as guest:
                guest.until(guest.owned)
                story.write(EACH)
                assert guest.stop() == 0, guest.log
        host.until(story.is_through)
        assert host.stop() == 0, host.log

    assert story.faults() == {}
