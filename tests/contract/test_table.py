"""What every reader of compacted topics does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.contract.member import Members, until
from tests.contract.rig import Rig, unique
from tests.contract.test_consumer import filled, topic_of
from tests.contract.test_records import compacted
from worker.errors import ClientError
from worker.ports import Table
from worker.types import RawMessage, TopicPartition


@pytest.fixture
def table(rig: Rig) -> Iterator[Table]:
    made = rig.table()
    yield made
    made.close()


def values(raws: Sequence[RawMessage]) -> list[bytes | None]:
    """By partition, each in the order of the read."""
    return [raw.value() for raw in sorted(raws, key=lambda raw: raw.partition())]


def test_a_read_gives_everything_and_the_next_one_what_came_later(rig: Rig, table: Table) -> None:
    (source,) = filled(rig, 3)

    first = table.read([source])
    again = table.read([source])
    rig.append(source, None, key=b"key", headers=[("name", b"value")])
    (later,) = table.read([source])

    assert values(first) == [b"0.0", b"0.1", b"0.2"]
    assert list(again) == []
    assert (later.offset(), later.key(), later.value()) == (3, b"key", None)
    assert later.headers() == [("name", b"value")]
    assert (later.topic(), later.partition()) == source


def test_each_partition_is_read_from_where_it_was(rig: Rig, table: Table) -> None:
    one, other = filled(rig, 2, partitions=2)

    only = table.read([one])
    rig.append(one, b"more")
    both = table.read([one, other, one])

    assert values(only) == [b"0.0", b"0.1"]
    assert values(both) == [b"more", b"1.0", b"1.1"]


def test_partitions_of_several_topics_are_read_together(rig: Rig, table: Table) -> None:
    sources = [*filled(rig, 50), *filled(rig, 50)]

    raws = table.read(sources)

    for source in sources:
        offsets = [raw.offset() for raw in raws if raw.topic() == source.topic]
        assert offsets == list(range(50))


def test_nothing_is_read_of_nothing(rig: Rig, table: Table) -> None:
    assert list(table.read([])) == []
    assert list(rig.stranded_table().read([])) == []


def test_the_partitions_of_a_topic_made_a_moment_ago_are_empty(rig: Rig, table: Table) -> None:
    for _ in range(5):
        topic = topic_of(rig, partitions=8)
        sources = [TopicPartition(topic, number) for number in range(8)]

        before = table.read(sources)
        rig.append(sources[7], b"first")

        assert list(before) == []
        assert values(table.read(sources)) == [b"first"]


def test_control_records_at_the_end_and_aborted_records_are_passed(rig: Rig, table: Table) -> None:
    (source,) = filled(rig, 1)
    rig.append_transaction(source, b"committed")
    rig.append_aborted(source, b"aborted")

    first = table.read([source])
    again = table.read([source])
    rig.append_aborted(source, b"aborted too")
    nothing = table.read([source])
    rig.append(source, b"later")

    assert values(first) == [b"0.0", b"committed"]
    assert [list(again), list(nothing)] == [[], []]
    assert values(table.read([source])) == [b"later"]


def test_what_was_deleted_is_passed(rig: Rig, table: Table) -> None:
    one, other = filled(rig, 6, partitions=2)
    table.read([one])
    rig.append(one, b"seen by nobody")
    rig.append(one, b"kept")

    rig.delete_records(one, 7)
    rig.delete_records(other, 4)

    assert values(table.read([one, other])) == [b"kept", b"1.4", b"1.5"]


def test_a_log_of_which_everything_was_deleted_is_empty(rig: Rig, table: Table) -> None:
    (source,) = filled(rig, 3)

    rig.delete_records(source, 3)

    assert list(table.read([source])) == []


def test_what_is_forgotten_is_read_from_the_beginning(rig: Rig, table: Table) -> None:
    one, other = filled(rig, 2, partitions=2)
    table.read([one, other])

    table.forget([one, TopicPartition("unknown", 0)])

    assert values(table.read([one, other])) == [b"0.0", b"0.1"]


def test_a_read_that_fails_has_read_nothing(rig: Rig, table: Table) -> None:
    (source,) = filled(rig, 2)
    missing = TopicPartition(source.topic, 7)

    with pytest.raises(ClientError):
        table.read([source, missing])

    assert values(table.read([source])) == [b"0.0", b"0.1"]


def test_without_an_answer_nobody_is_told_that_there_is_nothing(rig: Rig) -> None:
    table = rig.stranded_table()

    with pytest.raises(ClientError):
        table.read([TopicPartition("topic", 0)])
    table.close()


def test_it_reads_inside_an_assignment_of_another_client(
    rig: Rig, members: Members, table: Table
) -> None:
    subscribed, other = filled(rig, 2), filled(rig, 3)
    member = members.join(unique("group"), subscribed[0].topic)
    found: list[bytes | None] = []
    member.when_assigned = lambda: found.extend(values(table.read(other)))

    until(lambda: len(member.received) >= 2, member)

    assert found == [b"0.0", b"0.1", b"0.2"]


def test_closing_is_idempotent_and_needs_no_read(rig: Rig) -> None:
    (source,) = filled(rig, 1)
    unused, used = rig.table(), rig.table()
    used.read([source])

    for table in (unused, used, unused, used):
        table.close()


def test_of_what_is_compacted_the_last_record_of_each_key_is_read(rig: Rig, table: Table) -> None:
    source = compacted(rig)

    raws = table.read([source])

    assert [(raw.offset(), raw.key()) for raw in raws] == [(2, b"a"), (3, b"b"), (4, b"c")]
    assert table.position(source) == 5
