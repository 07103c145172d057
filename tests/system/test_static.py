"""Static members: who they are to their group over a restart, and what becomes of a second one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, Worker, ids, is_through, numbered
from tests.system.test_rebalances import GROUPS, in_each_way

pytestmark = pytest.mark.kafka


def spec_of(kafka: Kafka, folder: Path, way: str) -> Spec:
    """A spec whose sessions last for longer than a restart."""
    longer = {} if way == "consumer" else {"session_timeout": "60s"}
    spec = Spec(kafka, folder, "echo", client={"group": {**GROUPS[way], **longer}})
    spec.create_topics()
    return spec


def partitions(worker: Worker) -> set[int]:
    return {one["partition"] for one in worker.pipeline().get("partitions", ())}


def restarted(spec: Spec, first: Worker, other: Worker, end: signal.Signals) -> dict[str, Any]:
    """Let the first of two members end, start it again, and tell what that has changed.

    The other has joined later, so what it is given is the last that it hears of joining.
    """
    first.until(lambda: first.owned() == other.owned() == 2)
    before, rebalances = partitions(first), other.count("rebalances")
    first.send(end)
    first.ended()
    with spec.worker(instance="first") as again:
        again.until(lambda: again.owned() == 2)
        spec.kafka.produce(spec.source, numbered(40))
        again.until_handled(20)
        found = {
            "moved": partitions(again) != before,
            "rebalances of the other": other.count("rebalances") - rebalances,
        }
        assert [again.stop(), other.stop()] == [0, 0]
    return found


@in_each_way
def test_a_member_that_is_started_again_has_its_partitions_and_disturbs_nobody(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = spec_of(kafka, tmp_path, way)

    with spec.worker(instance="first") as first:
        first.until(lambda: first.owned() == 4)
        with spec.worker(instance="other") as other:
            found = restarted(spec, first, other, signal.SIGTERM)

    assert found == {"moved": False, "rebalances of the other": 0}
    assert set(ids(kafka.read(spec.target))) == set(range(40))


def test_a_member_that_was_killed_has_its_partitions_too(kafka: Kafka, tmp_path: Path) -> None:
    spec = spec_of(kafka, tmp_path, "sticky")

    with spec.worker(instance="first") as first:
        first.until(lambda: first.owned() == 4)
        with spec.worker(instance="other") as other:
            found = restarted(spec, first, other, signal.SIGKILL)

    assert found == {"moved": False, "rebalances of the other": 0}


@pytest.mark.parametrize("way", ["sticky", "range"])
def test_of_two_with_the_same_instance_the_older_ends_and_says_why(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = spec_of(kafka, tmp_path, way)

    with spec.worker(instance="one") as older:
        older.until(lambda: older.owned() == 4)
        with spec.worker(instance="one") as newer:
            assert older.ended() == 3
            newer.until(lambda: newer.owned() == 4)
            assert newer.stop() == 0

    assert "another process has taken over this one's identity" in older.log
    assert "give each member of the group an instance of its own" in older.log


def test_of_two_with_the_same_instance_the_newer_waits_where_the_broker_assigns(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = spec_of(kafka, tmp_path, "consumer")

    with spec.worker(instance="one") as older:
        older.until(lambda: older.owned() == 4)
        with spec.worker(instance="one") as newer:
            newer.until(lambda: "has this instance" in str(newer.pipeline().get("last_error")))
            newer.until(lambda: newer.codes() == ["renewed"])
            assert older.stop() == 0
            newer.until(lambda: newer.owned() == 4 and newer.is_ready())
            assert newer.stop() == 0

    assert "another member of the group has this instance" in newer.log


def test_one_that_the_group_refuses_shuts_no_writer_of_transactions_out(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = spec_of(kafka, tmp_path, "consumer")
    spec.settings = {"delivery": "exactly_once"}

    with spec.worker(instance="one") as older:
        older.until(lambda: older.owned() == 4)
        with spec.worker(instance="one") as newer:
            newer.until(lambda: newer.log.count("starting again") >= 3)
            kafka.produce(spec.source, numbered(40))
            older.until(lambda: is_through(kafka, spec, 40))
            assert older.count("rewinds") == 0
            assert older.stop() == 0
            newer.until(lambda: newer.owned() == 4 and newer.is_ready())
            kafka.produce(spec.source, numbered(40))
            newer.until(lambda: is_through(kafka, spec, 80))
            assert newer.stop() == 0

    assert sorted(ids(kafka.read(spec.target))) == sorted([*range(40)] * 2)
