"""What every consumer knows of its membership, in each protocol."""

from __future__ import annotations

import pytest

from tests.contract.conftest import GROUPS, rig_of, rigs
from tests.contract.member import DEADLINE, Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import filled, topic_of
from tests.deliveries import Deliveries
from worker.errors import CommitFailed, TransactionFailed
from worker.types import Commit, Encoded


@pytest.fixture(params=rigs(*GROUPS))
def rig(request: pytest.FixtureRequest) -> Rig:
    return rig_of(request)


def test_a_member_has_joined_when_it_has_partitions_and_no_more_after_it_is_closed(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 1)
    member = members.join(unique("group"), source.topic)
    before = member.consumer.joined

    until(lambda: member.owned, member)
    with_partitions = member.consumer.joined
    member.consumer.close()

    assert (before, with_partitions, member.consumer.joined) == (False, True, False)


def test_a_member_too_many_knows_that_it_has_joined(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    group = unique("group")
    first = members.settled(group, source.topic)
    second = members.join(group, source.topic)
    before = second.consumer.joined

    until(
        lambda: second.consumer.joined and len(first.owned) + len(second.owned) == 1, first, second
    )

    assert not before


def test_a_member_commits_in_a_transaction_until_its_group_takes_it_for_dead(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 5)
    group, topic = unique("group"), topic_of(rig)
    producer, result = rig.transactional(unique("identity")), [Encoded(topic, b"")]
    producer.take_over(DEADLINE)
    member = members.settled(group, source.topic)
    deliveries = Deliveries()

    def commit(offset: int) -> None:
        producer.begin()
        producer.send(result, deliveries.stored, deliveries.failed)
        producer.commit({source: Commit(offset)}, member.consumer.membership(), DEADLINE)

    commit(2)
    member.consumer.commit({source: Commit(2)}, wait=True)
    rig.fall_silent(member.consumer)
    heir = members.join(group, source.topic)
    until(lambda: heir.owned, heir)
    with pytest.raises(CommitFailed):
        member.consumer.commit({source: Commit(2)}, wait=True)
    with pytest.raises(TransactionFailed):
        commit(3)
    producer.abort(DEADLINE)
    producer.close(DEADLINE)

    assert heir.owned == {source: 2}
    assert heir.consumer.committed([source]) == {source: Commit(2)}


def test_a_pattern_reads_the_topics_that_match_wholly_and_is_never_missing(
    rig: Rig, members: Members
) -> None:
    base = unique("topic")
    pattern, first, other, longer = f"^{base}-[ab]", f"{base}-a", f"{base}-b", f"{base}-ab"
    member = members.join(unique("group"), pattern)
    until(lambda: list(member.consumer.unmatched) == [pattern], member)

    rig.admin().create({topic: Layout(1) for topic in (first, longer)})
    until(lambda: member.owned, member)
    rig.admin().create({other: Layout(1)})
    until(lambda: len(member.owned) == 2 and not member.consumer.unmatched, member)

    assert sorted(source.topic for source in member.owned) == [first, other]
    assert sorted(source.topic for source in member.consumer.group_offsets()) == [first, other]
    assert list(member.consumer.missing) == []
    assert {first, other, longer} <= set(rig.admin().names())
