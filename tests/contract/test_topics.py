"""What becomes of clients while topics come, grow and go, however groups are led."""

from __future__ import annotations

import pytest

from tests.contract.conftest import LED, rig_of, rigs
from tests.contract.member import Member, Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import filled, offsets_of, topic_of
from worker.errors import ClientError, ClientFatal, CommitFailed
from worker.settings import GroupSettings
from worker.types import Commit, TopicPartition


@pytest.fixture(params=rigs(*LED))
def rig(request: pytest.FixtureRequest) -> Rig:
    return rig_of(request)


def test_partitions_that_are_added_reach_a_member_that_has_the_others(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 1)
    member = members.join(unique("group"), source.topic)
    until(lambda: member.received, member)

    rig.add_partitions(source.topic, 3)
    until(lambda: len(member.owned) == 3, member)
    rig.append(TopicPartition(source.topic, 2), b"added")
    until(lambda: b"added" in member.values, member)

    assert set(member.owned) == {TopicPartition(source.topic, number) for number in range(3)}


def test_a_topic_that_is_deleted_is_taken_away_with_what_was_committed_there(
    rig: Rig, members: Members, led: GroupSettings
) -> None:
    (source,), other = filled(rig, 3), TopicPartition(topic_of(rig), 0)
    member = members.join(unique("group"), source.topic, other.topic)
    until(lambda: len(member.received) == 3, member)
    member.consumer.commit({source: Commit(3), other: Commit(0)}, wait=True)

    rig.delete(source.topic)
    until(lambda: list(member.owned) == [other], member)

    consumer = member.consumer
    cooperative = (led.protocol, led.rebalance) == ("classic", "sticky")
    assert member.events[1][0] == ("lost" if cooperative else "revoked")
    until(lambda: consumer.committed([source, other]) == {source: None, other: Commit(0)}, member)
    assert consumer.group_offsets() == {other: Commit(0)}
    with pytest.raises(CommitFailed, match="UNKNOWN_TOPIC_OR_PART"):
        consumer.commit({source: Commit(3)}, wait=True)
    with pytest.raises(ClientError):
        consumer.find([source], "oldest")


def test_a_topic_that_is_made_anew_is_read_from_its_beginning(rig: Rig, members: Members) -> None:
    (source,), group = filled(rig, 3), unique("group")
    member = members.join(group, source.topic)
    until(lambda: len(member.received) == 3, member)
    seek_when_lost(member)

    rig.delete(source.topic)
    write_anew(rig, source)
    last = reads_anew(members, member, group, source.topic)

    assert offsets_of(member, source)[:3] == [0, 1, 2]
    assert offsets_of(last, source)[-1] == 0


@pytest.mark.parametrize("rig", rigs("kip-848"), indirect=True)
def test_led_by_the_broker_a_topic_that_is_made_anew_is_another(rig: Rig, members: Members) -> None:
    (source,), group = filled(rig, 3), unique("group")
    member = members.join(group, source.topic)
    until(lambda: len(member.received) == 3, member)

    rig.delete(source.topic)
    write_anew(rig, source)
    reads_anew(members, member, group, source.topic)

    assert ("revoked", (source,)) in member.events
    assert member.offsets_lost == []


def write_anew(rig: Rig, source: TopicPartition) -> None:
    """Make the topic again and write into it, once its leader knows that it leads."""
    admin = rig.admin()
    admin.create({source.topic: Layout(1)})
    until(lambda: admin.ends([source], "read_committed"))
    rig.append(source, b"anew")


def reads_anew(members: Members, member: Member, group: str, topic: str) -> Member:
    """Who has read what was written anew: the member, or one that takes its place.

    A client that has seen the topic go may say that it does not follow it.
    """
    try:
        until(lambda: b"anew" in member.values, member)
    except ClientFatal:
        member.consumer.close()
        member = members.join(group, topic)
        until(lambda: b"anew" in member.values, member)
    return member


def seek_when_lost(member: Member) -> None:
    """Let it read on from the beginning where it is told no more than that its place is gone."""
    consumer = member.consumer
    member.when_lost = lambda place: consumer.seek(place, consumer.find([place], "oldest")[place])


def test_a_table_reads_a_topic_that_was_made_anew_from_its_beginning(rig: Rig) -> None:
    (source,), table = filled(rig, 3), rig.table()
    table.read([source])

    rig.delete(source.topic)
    with pytest.raises(ClientError):
        until(lambda: table.read([source]))
    write_anew(rig, source)

    assert [raw.value() for raw in table.read([source])] == [b"anew"]
    table.close()


def test_nobody_is_told_of_a_topic_that_is_deleted(rig: Rig) -> None:
    (source,), admin = filled(rig, 1), rig.admin()

    rig.delete(source.topic)

    assert source.topic not in admin.names()
    assert admin.ends([source], "read_committed") == {}
    assert admin.uncommitted(unique("group"), [source.topic]) == {}
