"""What every consumer does with partitions: it reads on, pauses and seeks."""

from __future__ import annotations

import pytest

from tests.contract.conftest import LED, rig_of, rigs
from tests.contract.member import Member, Members, until
from tests.contract.rig import Layout, Rig, unique
from worker.errors import ClientError
from worker.settings import GroupSettings
from worker.types import Commit, TopicPartition


@pytest.fixture(params=rigs(*LED))
def rig(request: pytest.FixtureRequest) -> Rig:
    """Here however groups are led, since each way has other calls to seek and to assign."""
    return rig_of(request)


def topic_of(rig: Rig, partitions: int = 1) -> str:
    topic = unique("topic")
    rig.admin().create({topic: Layout(partitions)})
    return topic


def filled(rig: Rig, count: int, partitions: int = 1) -> list[TopicPartition]:
    """Partitions of a new topic with `count` records each, valued `partition.offset`."""
    topic = topic_of(rig, partitions)
    sources = [TopicPartition(topic, number) for number in range(partitions)]
    for source in sources:
        for offset in range(count):
            rig.append(source, b"%d.%d" % (source.partition, offset))
    return sources


def offsets_of(member: Member, source: TopicPartition) -> list[int]:
    return [message.offset for message in member.received if message.source == source]


def test_the_messages_of_a_partition_come_in_order_and_all_of_them(
    rig: Rig, members: Members
) -> None:
    sources = filled(rig, 20, partitions=3)
    member = members.join(unique("group"), sources[0].topic)

    until(lambda: len(member.received) >= 60, member)

    assert [offsets_of(member, source) for source in sources] == [list(range(20))] * 3


def test_a_paused_partition_returns_nothing_and_goes_on_where_it_was(
    rig: Rig, members: Members
) -> None:
    paused, other = filled(rig, 5, partitions=2)
    member = members.join(unique("group"), paused.topic)
    until(lambda: len(member.received) >= 10, member)

    member.consumer.pause([paused])
    rig.append(paused, b"while paused")
    rig.append(other, b"while paused")
    until(lambda: 5 in offsets_of(member, other), member)
    meanwhile = offsets_of(member, paused)
    member.consumer.resume([paused])
    until(lambda: 5 in offsets_of(member, paused), member)

    assert meanwhile == list(range(5))
    assert offsets_of(member, paused) == list(range(6))


def test_pausing_in_the_middle_of_what_was_fetched_loses_and_repeats_nothing(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 50)
    member = members.settled(unique("group"), source.topic)

    for _ in range(3):
        member.poll(limit=5)
        before = len(member.received)
        member.consumer.pause([source])
        member.poll()
        assert len(member.received) == before
        member.consumer.resume([source])
    until(lambda: len(member.received) >= 50, member)

    assert offsets_of(member, source) == list(range(50))


def test_pausing_and_resuming_what_is_not_assigned_does_nothing(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    member = members.join(unique("group"), source.topic)
    until(lambda: member.received, member)

    member.consumer.pause([TopicPartition("elsewhere", 0)])
    member.consumer.resume([TopicPartition("elsewhere", 0)])
    rig.append(source, b"still read")

    until(lambda: len(member.received) >= 2, member)


@pytest.mark.parametrize("target", [0, 3, 17, 20])
def test_after_a_seek_messages_come_from_there_and_nothing_fetched_before(
    rig: Rig, members: Members, target: int
) -> None:
    (source,) = filled(rig, 20)
    member = members.join(unique("group"), source.topic)
    until(lambda: len(member.received) >= 10, member, limit=1)

    member.consumer.seek(source, target)
    rig.append(source, b"last")
    until(lambda: b"last" in member.values, member)

    assert offsets_of(member, source) == [*range(10), *range(target, 21)]


def test_a_seek_leaves_the_other_partitions_where_they_are(rig: Rig, members: Members) -> None:
    sought, other = filled(rig, 5, partitions=2)
    member = members.join(unique("group"), sought.topic)
    until(lambda: len(member.received) >= 10, member)

    member.consumer.seek(sought, 2)
    rig.append(other, b"last")
    until(lambda: len(member.received) >= 14, member)

    assert offsets_of(member, other) == list(range(6))
    assert offsets_of(member, sought) == [*range(5), 2, 3, 4]


def test_a_seek_does_not_end_a_pause(rig: Rig, members: Members) -> None:
    paused, other = filled(rig, 3, partitions=2)
    member = members.join(unique("group"), paused.topic)
    until(lambda: len(member.received) >= 6, member)

    member.consumer.pause([paused])
    member.consumer.seek(paused, 1)
    rig.append(other, b"meanwhile")
    until(lambda: b"meanwhile" in member.values, member)
    meanwhile = offsets_of(member, paused)
    member.consumer.resume([paused])
    until(lambda: len(offsets_of(member, paused)) >= 5, member)

    assert meanwhile == [0, 1, 2]
    assert offsets_of(member, paused) == [0, 1, 2, 1, 2]


def test_seeking_what_is_not_assigned_is_an_error(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    member = members.settled(unique("group"), source.topic)

    with pytest.raises(ClientError):
        member.consumer.seek(TopicPartition(source.topic, 7), 0)


def test_a_position_that_was_deleted_is_told_once_and_a_seek_revives_it(
    rig: Rig, members: Members
) -> None:
    lost, other = filled(rig, 10, partitions=2)
    group = unique("group")
    first = members.settled(group, lost.topic)
    first.consumer.commit({lost: Commit(2), other: Commit(10)}, wait=True)
    first.consumer.close()
    rig.delete_records(lost, 5)

    member = members.join(group, lost.topic)
    until(lambda: member.offsets_lost, member)
    rig.append(other, b"meanwhile")
    until(lambda: member.received, member)
    meanwhile = offsets_of(member, lost)
    member.consumer.seek(lost, member.consumer.find([lost], "oldest")[lost])
    until(lambda: len(offsets_of(member, lost)) == 5, member)

    assert member.offsets_lost == [lost]
    assert meanwhile == []
    assert offsets_of(member, lost) == [5, 6, 7, 8, 9]


def test_a_position_beyond_the_end_is_lost_as_well(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 3)
    member = members.join(unique("group"), source.topic)
    until(lambda: len(member.received) >= 3, member)

    member.consumer.seek(source, 100)
    until(lambda: member.offsets_lost, member)

    assert member.offsets_lost == [source]


def test_the_position_is_behind_the_last_message_returned(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 10)
    member = members.join(unique("group"), source.topic)

    until(lambda: len(member.received) >= 3, member, limit=1)
    early = member.consumer.positions([source])
    until(lambda: len(member.received) >= 10, member)

    assert early == {source: 3}
    assert member.consumer.positions([source]) == {source: 10}


def test_after_a_seek_nobody_is_told_where_the_partition_was_before(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 10)
    member = members.join(unique("group"), source.topic)
    until(lambda: len(member.received) >= 10, member)

    member.consumer.seek(source, 4)
    told = [member.consumer.positions([source]).get(source, 4) for _ in range(100)]
    until(lambda: len(member.received) >= 16, member)

    assert set(told) == {4}
    assert member.consumer.positions([source]) == {source: 10}


def test_the_position_of_what_is_not_assigned_is_not_known(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    member = members.settled(unique("group"), source.topic)

    assert member.consumer.positions([TopicPartition(source.topic, 7)]) == {}


def test_a_partition_that_is_assigned_again_is_read_from_there_and_not_paused(
    rig: Rig, members: Members
) -> None:
    source, other = filled(rig, 6, partitions=2)
    member = members.join(unique("group"), source.topic)
    until(lambda: len(member.received) >= 12, member)
    member.consumer.pause([source])

    member.consumer.assign_again(source, 3)
    until(lambda: len(member.received) >= 15, member)
    rig.append(source, b"")
    rig.append(other, b"")
    until(lambda: len(member.received) >= 17, member)

    assert offsets_of(member, source) == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6]
    assert offsets_of(member, other) == [0, 1, 2, 3, 4, 5, 6]


def test_a_partition_that_was_assigned_again_is_given_back_like_others(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 3)
    group = unique("group")
    member = members.join(group, source.topic)
    until(lambda: len(member.received) >= 3, member)
    member.consumer.assign_again(source, 3)

    member.consumer.close()
    other = members.join(group, source.topic)
    until(lambda: other.owned, other)
    rig.append(source, b"")
    until(lambda: other.received, other)

    assert [what for what, _ in member.events] == ["assigned", "revoked"]


def test_to_assign_again_in_the_middle_of_a_rebalance_keeps_nothing_that_is_given_away(
    rig: Rig, members: Members
) -> None:
    sources = filled(rig, 1, partitions=4)
    group = unique("group")
    first = members.join(group, sources[0].topic)
    until(lambda: len(first.received) >= 4, first)
    second = members.join(group, sources[0].topic)

    def settled() -> bool:
        for source in first.owned:
            first.consumer.assign_again(source, 1)
        return len(first.owned) == len(second.owned) == 2

    until(settled, first, second)
    for source in sources:
        rig.append(source, b"last")
    until(lambda: (first.values + second.values).count(b"last") >= 4, first, second)

    assert first.values.count(b"last") == second.values.count(b"last") == 2


def test_a_pause_is_over_when_a_partition_comes_back_and_goes_on_in_one_that_was_kept(
    rig: Rig, members: Members, led: GroupSettings
) -> None:
    sources, group = filled(rig, 0, partitions=2), unique("group")
    first = members.settled(group, sources[0].topic)
    first.consumer.pause(sources)

    second = members.join(group, sources[0].topic)
    until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    (kept,), (moved,) = first.owned, second.owned
    for source in sources:
        rig.append(source, b"one")
    until(lambda: second.received, first, second)
    until(lambda: first.received or keeps_what_stays(led), first)
    paused = [*first.received]
    second.consumer.close()
    until(lambda: moved in first.owned, first)
    until(lambda: offsets_of(first, moved), first)

    assert bool(paused) != keeps_what_stays(led)
    assert bool(offsets_of(first, kept)) != keeps_what_stays(led)


def keeps_what_stays(led: GroupSettings) -> bool:
    """Whether a rebalance leaves those partitions alone that do not move."""
    return led.rebalance == "sticky"


def test_that_a_paused_position_was_deleted_is_told_when_it_is_read_on(
    rig: Rig, members: Members
) -> None:
    paused, other = filled(rig, 5, partitions=2)
    member = members.join(unique("group"), paused.topic)
    until(lambda: offsets_of(member, paused), member, limit=1)
    last = offsets_of(member, paused)[-1]
    member.consumer.pause([paused])

    rig.delete_records(paused, 5)
    rig.append(other, b"meanwhile")
    until(lambda: b"meanwhile" in member.values, member)
    before = list(member.offsets_lost)
    member.consumer.resume([paused])
    until(lambda: member.offsets_lost, member)

    assert (before, member.offsets_lost) == ([], [paused])
    assert offsets_of(member, paused)[-1] == last


def test_what_an_assignment_raises_is_raised_by_a_poll_and_closing_ends(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 1)
    member = members.join(unique("group"), source.topic)

    def fail() -> None:
        raise ValueError("no")

    member.when_assigned = fail
    with pytest.raises(ValueError, match="no"):
        until(lambda: False, member)
    member.consumer.close()

    assert member.received == []
    assert [what for what, _ in member.events] == ["assigned"]
