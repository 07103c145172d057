"""What every consumer reads: records as they were written, and the gaps between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from tests.contract.member import Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import filled, offsets_of, topic_of
from worker.errors import ClientError
from worker.types import Commit, Isolation, TopicPartition

NOON: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
COMPACTED: Final = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.0",
    "segment.ms": "1000",
}
"""A topic that is compacted soon: all but its last second, by the time of its records."""


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def compacted(rig: Rig) -> TopicPartition:
    """A partition that has lost the records 0 and 1, and ends with 4."""
    source = TopicPartition(unique("topic"), 0)
    rig.admin().create({source.topic: Layout(config=COMPACTED)})
    for offset, key in enumerate((b"a", b"b", b"a", b"b")):
        rig.append(source, b"%d" % offset, key=key, timestamp=milliseconds(NOON))
    rig.append(source, b"4", key=b"c", timestamp=milliseconds(NOON + timedelta(hours=1)))
    rig.compact(source.topic)
    table = rig.table()

    def is_compacted() -> bool:
        table.forget([source])
        return len(table.read([source])) == 3

    until(is_compacted)
    table.close()
    return source


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


def test_places_are_found_at_the_ends_and_by_time(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 0)
    for hour in range(4):
        rig.append(source, b"", timestamp=milliseconds(NOON + timedelta(hours=hour)))
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


def test_where_a_topic_says_so_records_have_the_time_of_the_broker(
    rig: Rig, members: Members
) -> None:
    source = TopicPartition(unique("topic"), 0)
    rig.admin().create({source.topic: Layout(config={"message.timestamp.type": "LogAppendTime"})})
    rig.append(source, b"", timestamp=milliseconds(NOON))
    member = members.join(unique("group"), source.topic)

    until(lambda: member.received, member)

    assert member.received[0].timestamp > milliseconds(NOON + timedelta(days=1))


def test_of_what_is_compacted_the_last_record_of_each_key_is_read_where_it_was(
    rig: Rig, members: Members
) -> None:
    source = compacted(rig)
    member = members.join(unique("group"), source.topic)

    until(lambda: len(member.received) == 3, member)

    assert [(m.offset, m.key, m.value) for m in member.received] == [
        (2, b"a", b"2"),
        (3, b"b", b"3"),
        (4, b"c", b"4"),
    ]
    assert member.consumer.positions([source]) == {source: 5}


def test_an_offset_in_a_hole_is_not_lost_and_still_counts(rig: Rig, members: Members) -> None:
    source, group = compacted(rig), unique("group")
    first = members.settled(group, source.topic)
    first.consumer.commit({source: Commit(1)}, wait=True)
    first.consumer.close()

    member = members.join(group, source.topic)
    until(lambda: len(member.received) == 3, member)

    assert offsets_of(member, source) == [2, 3, 4]
    assert member.offsets_lost == []
    assert rig.admin().uncommitted(group, [source.topic]) == {source.topic: 4}
    assert member.consumer.find([source], "oldest") == {source: 0}
    assert member.consumer.find([source], NOON) == {source: 2}


def test_what_is_older_than_its_topic_keeps_it_is_deleted_and_an_offset_in_there_is_lost(
    rig: Rig, members: Members
) -> None:
    source, group = TopicPartition(unique("topic"), 0), unique("group")
    rig.admin().create({source.topic: Layout(config={"retention.ms": "3600000"})})
    first = members.settled(group, source.topic)
    first.consumer.commit({source: Commit(1)}, wait=True)
    first.consumer.close()
    for _ in range(3):
        rig.append(source, b"old", timestamp=milliseconds(NOON))
    find = rig.consumer(unique("group")).find
    until(lambda: find([source], "oldest") == {source: 3})

    member = members.join(group, source.topic)
    until(lambda: member.offsets_lost, member)
    member.consumer.seek(source, member.consumer.find([source], "oldest")[source])
    rig.append(source, b"young")
    until(lambda: member.received, member)

    assert [(message.offset, message.value) for message in member.received] == [(3, b"young")]


def test_a_log_may_begin_with_a_control_record(rig: Rig, members: Members) -> None:
    (source,) = filled(rig, 0)
    rig.append_transaction(source, b"committed")
    rig.delete_records(source, 1)
    member, table = members.join(unique("group"), source.topic), rig.table()

    until(lambda: member.consumer.positions([source]) == {source: 2}, member)
    before = list(table.read([source]))
    rig.append(source, b"last")
    until(lambda: member.received, member)

    assert before == []
    assert offsets_of(member, source) == [2]
    assert [raw.offset() for raw in table.read([source])] == [2]
    table.close()
