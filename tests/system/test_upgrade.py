"""A group whose members change its protocol one after the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.system.rig import Kafka, Spec, Worker, ids, is_through, keyed, misplaced
from tests.system.test_rebalances import EACH, GROUPS, KEYS, settled

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("range", "consumer"),
        ("roundrobin", "consumer"),
        ("consumer", "sticky"),
        ("consumer", "range"),
    ],
)
def test_members_change_the_protocol_one_by_one_and_nothing_is_lost_or_out_of_order(
    kafka: Kafka, tmp_path: Path, before: str, after: str
) -> None:
    spec = Spec(kafka, tmp_path, "echo_slowly")
    spec.create_topics()
    seen: list[list[int]] = []

    def member(way: str) -> Worker:
        return spec.worker(kafka={"brokers": kafka.address, "group": GROUPS[way]})

    def more(condition: Callable[[], bool], who: Worker) -> None:
        kafka.produce(spec.source, keyed(len(seen) * EACH, EACH, KEYS))
        who.until(condition)
        seen.append(kafka.committed(spec.group, spec.source))

    with member(before) as first, member(before) as second:
        more(lambda: settled([first, second]), first)
        with member(after) as third, member(after) as fourth:
            assert first.stop() == 0, first.log
            more(lambda: settled([second, third, fourth]), third)
            assert second.stop() == 0, second.log
            more(lambda: settled([third, fourth]), third)
            third.until(lambda: is_through(kafka, spec, len(seen) * EACH))
            assert [third.stop(), fourth.stop()] == [0, 0]

    results = kafka.read(spec.target)
    assert set(ids(results)) == set(range(len(seen) * EACH))
    assert misplaced(results) == []
    assert all(has_not_gone_back(one, next_one) for one, next_one in pairwise(seen))


def test_a_member_that_leaves_sticky_may_have_to_wait_until_all_others_have_gone_and_says_so(
    kafka: Kafka, tmp_path: Path
) -> None:
    """Brokers change no group of which a member notes something of its own, as some of these do."""
    spec = Spec(kafka, tmp_path, "echo_slowly")
    spec.create_topics()
    sticky = {"brokers": kafka.address, "group": GROUPS["sticky"]}

    with spec.worker(kafka=sticky) as first, spec.worker(kafka=sticky) as second:
        first.until(lambda: settled([first, second]))
        with spec.worker(kafka={"brokers": kafka.address, "group": GROUPS["consumer"]}) as new:
            kafka.produce(spec.source, keyed(0, EACH, KEYS))
            new.until(lambda: new.owned() or new.codes() == ["renewed"])
            assert [first.stop(), second.stop()] == [0, 0]
            new.until(lambda: new.owned() == 4)
            kafka.produce(spec.source, keyed(EACH, EACH, KEYS))
            new.until(lambda: is_through(kafka, spec, 2 * EACH))
            new.until(new.is_ready)
            assert new.stop() == 0, new.log

    results = kafka.read(spec.target)
    assert set(ids(results)) == set(range(2 * EACH))
    assert misplaced(results) == []


def has_not_gone_back(before: list[int], after: list[int]) -> bool:
    return all(one <= other for one, other in zip(before, after, strict=True))
