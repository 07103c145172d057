"""What every consumer does with records and places."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.conftest import GROUPS, rig_of, rigs
from tests.contract.member import Member, Members, until
from tests.contract.rig import Layout, Rig, unique
from worker.errors import ClientError
from worker.types import Commit, Isolation, TopicPartition

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=rigs(*GROUPS))
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


def test_a_poll_returns_at_most_its_limit(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 20)
    member = members.join(unique("group"), source.topic)

    until(lambda: len(member.received) >= 20, member, limit=3)

    assert offsets_of(member, source) == list(range(20))


def test_several_topics_are_read_by_one_member(rig: Rig, members: Members) -> None:
    one, other = filled(rig, 2) + filled(rig, 3)
    member = members.join(unique("group"), one.topic, other.topic)

    until(lambda: len(member.received) >= 5, member)

    assert [offsets_of(member, one), offsets_of(member, other)] == [[0, 1], [0, 1, 2]]


def test_headers_keep_their_order_their_repetitions_and_their_missing_values(
    rig: Rig, members: Members
) -> None:
    source = TopicPartition(topic_of(rig), 0)
    headers = [("b", b"1"), ("a", None), ("b", b""), ("c", "text")]
    rig.append(source, b"", headers=headers)
    rig.append(source, b"")
    member = members.join(unique("group"), source.topic)

    until(lambda: len(member.received) >= 2, member)

    assert member.received[0].headers == [("b", b"1"), ("a", None), ("b", b""), ("c", b"text")]
    assert member.received[1].headers == []


def test_no_key_and_no_value_are_not_the_same_as_empty_ones(rig: Rig, members: Members) -> None:
    source = TopicPartition(topic_of(rig), 0)
    rig.append(source, None, key=b"")
    rig.append(source, b"", key=None)
    member = members.join(unique("group"), source.topic)

    until(lambda: len(member.received) >= 2, member)

    assert [(message.key, message.value) for message in member.received] == [
        (b"", None),
        (None, b""),
    ]


def test_timestamps_are_milliseconds_as_the_producer_has_set_them(
    rig: Rig, members: Members
) -> None:
    source = TopicPartition(topic_of(rig), 0)
    rig.append(source, b"", timestamp=1_769_860_800_123)
    member = members.join(unique("group"), source.topic)

    until(lambda: member.received, member)

    assert member.received[0].timestamp == 1_769_860_800_123


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

    for _ in range(8):
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


def test_places_are_found_at_the_ends_and_by_time(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 0)
    for hour in range(4):
        rig.append(source, b"", timestamp=int((NOON + timedelta(hours=hour)).timestamp() * 1000))
    rig.delete_records(source, 1)
    find = members.settled(unique("group"), source.topic).consumer.find

    assert find([source], "oldest") == {source: 1}
    assert find([source], "newest") == {source: 4}
    assert find([source], NOON + timedelta(hours=2)) == {source: 2}
    assert find([source], NOON + timedelta(hours=2, seconds=1)) == {source: 3}
    assert find([source], NOON - timedelta(days=1)) == {source: 1}
    assert find([source], NOON + timedelta(days=1)) == {source: 4}


def test_places_of_several_partitions_are_found_at_once(rig: Rig, members: Members) -> None:
    sources = filled(rig, 2, partitions=3)
    find = members.settled(unique("group"), sources[0].topic).consumer.find

    assert find(sources, "newest") == dict.fromkeys(sources, 2)


def test_the_place_of_a_partition_that_does_not_exist_is_an_error(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 1)
    find = members.settled(unique("group"), source.topic).consumer.find

    with pytest.raises(ClientError):
        find([TopicPartition(source.topic, 7)], "oldest")


def test_the_end_of_a_partition_is_known_once_it_is_read(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 7)
    member = members.join(unique("group"), source.topic)
    until(lambda: member.consumer.ends([source]), member, limit=1)

    assert member.consumer.ends([source]) == {source: 7}


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


def test_control_records_leave_gaps_and_aborted_records_are_not_read(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 1)
    rig.append_transaction(source, b"committed")
    rig.append_aborted(source, b"aborted")
    rig.append(source, b"last")
    member = members.join(unique("group"), source.topic)

    until(lambda: b"last" in member.values, member)

    assert member.values == [b"0.0", b"committed", b"last"]
    assert offsets_of(member, source) == [0, 1, 5]
    assert member.consumer.find([source], "newest") == {source: 6}


def test_the_position_is_behind_the_last_message_returned(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 10)
    member = members.join(unique("group"), source.topic)

    until(lambda: len(member.received) >= 3, member, limit=1)
    early = member.consumer.positions([source])
    until(lambda: len(member.received) >= 10, member)

    assert early == {source: 3}
    assert member.consumer.positions([source]) == {source: 10}


def test_the_position_passes_control_records_at_the_end(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 1)
    rig.append_transaction(source, b"committed")
    rig.append_aborted(source, b"aborted")
    member = members.join(unique("group"), source.topic)

    until(lambda: member.consumer.positions([source]) == {source: 5}, member)
    received = list(member.values)
    rig.append(source, b"last")
    until(lambda: b"last" in member.values, member)

    assert received == [b"0.0", b"committed"]
    assert offsets_of(member, source) == [0, 1, 5]


def test_a_member_that_starts_in_front_of_a_control_record_passes_it(
    rig: Rig, members: Members
) -> None:
    (source,) = filled(rig, 0)
    rig.append_transaction(source, b"committed")
    group = unique("group")
    first = members.settled(group, source.topic)
    first.consumer.commit({source: Commit(1)}, wait=True)
    first.consumer.close()

    member = members.join(group, source.topic)
    until(lambda: member.owned and member.consumer.positions([source]) == {source: 2}, member)

    assert member.received == []


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


def test_read_uncommitted_reads_aborted_records(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 0)
    rig.append_aborted(source, b"aborted")
    rig.append(source, b"last")
    member = members.join(unique("group"), source.topic, isolation="read_uncommitted")

    until(lambda: b"last" in member.values, member)

    assert member.values == [b"aborted", b"last"]


def test_totals_count_what_was_received(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 3)
    member = members.join(unique("group"), source.topic)

    until(lambda: member.consumer.totals().messages_received >= 3, member)

    assert member.consumer.connected
    assert member.consumer.coordinated
    assert member.consumer.denied is None
    assert member.consumer.last_error is None


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


def test_how_far_a_partition_is_fetched_is_known(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 6)
    member = members.join(unique("group"), source.topic)

    until(lambda: member.consumer.fetched([source]) == {source: 6}, member)

    assert member.consumer.fetched([TopicPartition(source.topic, 7)]) == {}


@pytest.mark.parametrize("last", ["committed", "aborted"])
@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_a_partition_is_fetched_up_to_its_end_though_no_message_is_there(
    rig: Rig, members: Members, isolation: Isolation, last: str
) -> None:
    (source,) = filled(rig, 1)
    append = rig.append_transaction if last == "committed" else rig.append_aborted
    append(source, b"last")
    ends = rig.admin().ends([source], isolation)
    member = members.join(unique("group"), source.topic, isolation=isolation)

    until(lambda: member.consumer.fetched([source]) == ends, member)

    assert ends == {source: 3}
