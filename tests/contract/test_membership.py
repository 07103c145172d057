"""What every consumer knows of its membership, in each protocol."""

from __future__ import annotations

import pytest

from tests.contract.conftest import LED, rig_of, rigs
from tests.contract.member import DEADLINE, Member, Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import filled, topic_of
from tests.deliveries import Deliveries
from worker.errors import ClientFatal, CommitFailed, Fenced, TransactionFailed
from worker.ports import METADATA_TOO_LARGE
from worker.settings import GroupSettings
from worker.types import Commit, Encoded, TopicPartition


@pytest.fixture(params=rigs(*LED))
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
    member = members.settled(group, source.topic, mortal=True)
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
    pattern, one, longer = f"^{base}-[ab]", f"{base}-a", f"{base}-ab"
    member = members.join(unique("group"), pattern)
    until(lambda: list(member.consumer.unmatched) == [pattern], member)

    rig.admin().create({topic: Layout(1) for topic in (one, longer)})
    until(lambda: member.owned and not member.consumer.unmatched, member)

    assert [source.topic for source in member.owned] == [one]
    assert [source.topic for source in member.consumer.group_offsets()] == [one]
    assert list(member.consumer.missing) == []
    assert {one, longer} <= set(rig.admin().names())


@pytest.mark.parametrize("rig", rigs("sticky", "range"), indirect=True)
def test_a_member_gets_the_topics_that_come_later_and_match_its_pattern(
    rig: Rig, members: Members
) -> None:
    base = unique("topic")
    rig.admin().create({f"{base}-a": Layout(1)})
    member = members.join(unique("group"), f"^{base}-[ab]")
    until(lambda: member.owned, member)

    rig.admin().create({f"{base}-b": Layout(1)})
    until(lambda: len(member.owned) == 2, member)

    assert sorted(source.topic for source in member.owned) == [f"{base}-a", f"{base}-b"]


def shared_by_two(rig: Rig, members: Members) -> tuple[Member, Member]:
    """Members of a group that have two partitions each, the second joined later."""
    sources, group = filled(rig, 3, partitions=4), unique("group")
    first = members.settled(group, sources[0].topic)
    second = members.join(group, sources[0].topic)
    until(lambda: len(first.owned) == len(second.owned) == 2, first, second)
    return first, second


def test_a_rebalance_takes_what_moves_where_it_is_cooperative_and_else_everything(
    rig: Rig, members: Members, led: GroupSettings
) -> None:
    first, second = shared_by_two(rig, members)

    taken = [set(sources) for what, sources in first.events if what == "revoked"]

    everything = first.owned.keys() | second.owned.keys()
    assert taken == [everything if led.rebalance == "range" else set(second.owned)]


def test_a_transaction_takes_no_membership_from_before_a_rebalance(
    rig: Rig, members: Members
) -> None:
    producer, sources = rig.transactional(unique("identity")), filled(rig, 1, partitions=2)
    producer.take_over(DEADLINE)
    first = members.settled(group := unique("group"), sources[0].topic)
    before = first.consumer.membership()
    second = members.join(group, sources[0].topic)
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    commits = dict.fromkeys(first.owned, Commit(1))

    producer.begin()
    with pytest.raises(TransactionFailed, match="ILLEGAL_GENERATION"):
        producer.commit(commits, before, DEADLINE)
    producer.abort(DEADLINE)
    producer.begin()
    producer.commit(commits, first.consumer.membership(), DEADLINE)
    producer.close(DEADLINE)

    assert set(first.owned) == set(commits)


def test_a_member_may_commit_what_another_owns(rig: Rig, members: Members) -> None:
    first, second = shared_by_two(rig, members)
    commits = dict.fromkeys(second.owned, Commit(2))

    first.consumer.commit(commits, wait=True)

    assert second.consumer.committed(list(second.owned)) == commits


def test_of_a_commit_that_is_refused_the_other_partitions_are_committed(
    rig: Rig, members: Members
) -> None:
    one, other = filled(rig, 3, partitions=2)
    consumer = members.settled(unique("group"), one.topic).consumer
    missing = TopicPartition(unique("topic"), 0)

    with pytest.raises(CommitFailed, match=METADATA_TOO_LARGE):
        consumer.commit({one: Commit(1), other: Commit(1, "x" * 5_000)}, wait=True)
    too_long = consumer.committed([one, other])
    with pytest.raises(CommitFailed, match="UNKNOWN_TOPIC_OR_PART"):
        consumer.commit({missing: Commit(1), other: Commit(2)}, wait=True)

    assert too_long == {one: Commit(1), other: None}
    assert consumer.committed([other, missing]) == {other: Commit(2), missing: None}


def test_to_commit_nothing_is_no_failure(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    member = members.settled(unique("group"), source.topic)

    member.consumer.commit({}, wait=True)
    member.consumer.commit({}, wait=False)
    until(lambda: member.commits, member)

    assert member.commits == [({}, None)]


def test_who_has_not_joined_commits_as_long_as_the_group_has_no_member(
    rig: Rig, members: Members
) -> None:
    (source,), group = filled(rig, 3), unique("group")
    outside = rig.consumer(group)

    outside.commit({source: Commit(1)}, wait=True)
    member = members.settled(group, source.topic)
    with pytest.raises(CommitFailed, match="UNKNOWN_MEMBER_ID"):
        outside.commit({source: Commit(2)}, wait=True)
    outside.close()

    assert member.owned == {source: 1}


def knows_what_it_keeps(member: Member) -> bool:
    """Whether a member has been told what it has, last of all, and not only what to give back."""
    return member.events[-1][0] == "assigned"


def test_the_place_of_a_static_member_that_closes_is_kept_until_it_comes_back(
    rig: Rig, members: Members
) -> None:
    sources, group = filled(rig, 1, partitions=2), unique("group")
    first = members.join(group, sources[0].topic, instance="first")
    second = members.join(group, sources[0].topic, instance="second")
    until(
        lambda: len(first.owned) == len(second.owned) == 1 and knows_what_it_keeps(first),
        first,
        second,
    )
    had, before = set(second.owned), list(first.events)

    second.consumer.close()
    again = members.join(group, sources[0].topic, instance="second")
    until(lambda: again.owned, first, again)

    assert set(again.owned) == had
    assert first.events == before
    assert second.events[-1] == ("revoked", tuple(had))


def test_of_two_static_members_of_one_name_only_one_goes_on(
    rig: Rig, members: Members, led: GroupSettings
) -> None:
    (source,), group = filled(rig, 1), unique("group")
    first = members.join(group, source.topic, instance="twin")
    until(lambda: first.owned, first)
    twin = members.join(group, source.topic, instance="twin")

    stays, goes, error = (
        (first, twin, ClientFatal) if led.protocol == "consumer" else (twin, first, Fenced)
    )
    with pytest.raises(error):
        until(lambda: False, goes)
    until(lambda: stays.owned, stays)
    with pytest.raises(CommitFailed):
        goes.consumer.commit({source: Commit(1)}, wait=True)
    stays.consumer.commit({source: Commit(1)}, wait=True)

    assert goes.events in ([("assigned", (source,))], [])
