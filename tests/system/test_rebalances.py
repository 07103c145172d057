"""Members that come and go, in each of the ways in which a group shares its partitions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import Kafka, Spec, Worker, ids, is_through, keyed, misplaced

pytestmark = pytest.mark.kafka

QUICK = {"session_timeout": "6s", "heartbeat": "1s"}
GROUPS: Mapping[str, Mapping[str, Any]] = {
    "sticky": {"rebalance": "sticky", **QUICK},
    "range": {"rebalance": "range", **QUICK},
    "roundrobin": {"rebalance": "roundrobin", **QUICK},
    "consumer": {"protocol": "consumer"},
}
KEYS = 50
EACH = 2_500
"""Records that are written between two rebalances."""

in_each_way = pytest.mark.parametrize("way", GROUPS)


def settled(members: Iterable[Worker]) -> bool:
    """Whether each member has partitions, and together they have all."""
    shares = [member.owned() for member in members]
    return min(shares) > 0 and sum(shares) == 4


def go_through(kafka: Kafka, folder: Path, way: str, rounds: int) -> None:
    """Let three members share a topic while, each round, another joins and the eldest leaves."""
    spec = Spec(kafka, folder, "echo_slowly", client={"group": GROUPS[way]})
    spec.create_topics()
    written = 0
    with ExitStack() as stack:
        members = deque(stack.enter_context(spec.worker()) for _ in range(3))
        for _ in range(rounds):
            for change in ("join", "leave"):
                kafka.produce(spec.source, keyed(written, EACH, KEYS))
                written += EACH
                if change == "join":
                    members.append(stack.enter_context(spec.worker()))
                else:
                    assert members.popleft().stop() == 0
                members[-1].until(lambda: settled(members))
        members[-1].until(lambda: is_through(kafka, spec, written))
        lost = [one.log.count(": lost ") for one in members]
        assert [one.stop() for one in members] == [0, 0, 0]

    results = kafka.read(spec.target)
    assert set(ids(results)) == set(range(written))
    assert misplaced(results) == []
    assert lost == [0, 0, 0]


@in_each_way
def test_nothing_is_lost_or_skipped_while_members_come_and_go(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    go_through(kafka, tmp_path, way, rounds=2)


@pytest.mark.long
@in_each_way
def test_nothing_is_lost_or_skipped_in_twenty_rebalances(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    go_through(kafka, tmp_path, way, rounds=10)


@in_each_way
def test_a_member_without_partitions_is_ready(kafka: Kafka, tmp_path: Path, way: str) -> None:
    spec = Spec(kafka, tmp_path, "echo", client={"group": GROUPS[way]})
    kafka.create(spec.source, spec.target, partitions=1)

    with spec.worker() as one, spec.worker() as other:
        one.until(lambda: one.owned() + other.owned() == 1 and one.is_ready() and other.is_ready())
        assert [one.stop(), other.stop()] == [0, 0]


@in_each_way
def test_a_member_that_joins_is_one_rebalance_for_each(
    kafka: Kafka, tmp_path: Path, way: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo", client={"group": GROUPS[way]})
    spec.create_topics()

    with spec.worker() as one:
        one.until(lambda: one.owned() == 4)
        with spec.worker() as other:
            one.until(lambda: settled([one, other]))
            found = one.count("rebalances"), other.count("rebalances")
            assert [one.stop(), other.stop()] == [0, 0]

    assert found == (2, 1)
