"""What every admin client does."""

from __future__ import annotations

import pytest

from tests.contract.member import Members
from tests.contract.rig import Layout, Rig, unique
from worker.errors import BrokersUnreachable, TopicsRefused
from worker.types import Commit, TopicPartition


def test_topics_that_do_not_exist_are_left_out(rig: Rig) -> None:
    here, missing = unique("topic"), unique("topic")
    rig.admin().create({here: Layout(3)})

    assert list(rig.admin().describe([here, missing])) == [here]


def test_a_topic_can_be_seen_as_it_was_made_as_soon_as_it_is_made(rig: Rig) -> None:
    topic = unique("topic")

    rig.admin().create({topic: Layout(3, config={"max.message.bytes": "2000"})})

    info = rig.admin().describe([topic])[topic]
    assert (info.partitions, info.max_message_bytes) == (3, 2000)


def test_what_is_not_said_is_the_brokers_default(rig: Rig) -> None:
    topic = unique("topic")

    rig.admin().create({topic: Layout(None, None)})

    info = rig.admin().describe([topic])[topic]
    assert info.partitions >= 1
    assert info.max_message_bytes == 1_048_588


def test_a_topic_that_exists_is_left_as_it_is(rig: Rig) -> None:
    topic, other = unique("topic"), unique("topic")
    rig.admin().create({topic: Layout(3)})

    rig.admin().create({topic: Layout(5), other: Layout(1)})

    info = rig.admin().describe([topic, other])
    assert {name: topic.partitions for name, topic in info.items()} == {topic: 3, other: 1}


def test_a_group_may_be_joined_of_which_nothing_else_is_told(rig: Rig) -> None:
    group = unique("group")

    assert "READ" in rig.admin().allowed([group]).get(group, {"READ"})
    assert rig.stranded_admin().allowed([group]) == {}


def test_nothing_is_described_and_made_of_nothing(rig: Rig) -> None:
    rig.admin().create({})

    assert rig.admin().describe([]) == {}


def test_what_a_group_has_not_committed_is_counted_by_topic(rig: Rig, members: Members) -> None:
    topic, other, missing = unique("topic"), unique("topic"), unique("topic")
    rig.admin().create({topic: Layout(2), other: Layout(1)})
    for number in range(3):
        rig.append(TopicPartition(topic, 1), b"%d" % number)
    rig.append(TopicPartition(other, 0), b"")
    group = unique("group")
    member = members.settled(group, topic)
    member.consumer.commit({TopicPartition(topic, 1): Commit(2)}, wait=True)

    asked = [topic, other, missing]
    assert rig.admin().uncommitted(group, asked) == {topic: 1, other: 1}
    assert rig.admin().uncommitted(unique("group"), asked) == {topic: 3, other: 1}
    assert rig.admin().uncommitted(group, []) == {}


def test_records_that_are_deleted_do_not_count(rig: Rig) -> None:
    source = TopicPartition(unique("topic"), 0)
    rig.admin().create({source.topic: Layout(1)})
    for number in range(3):
        rig.append(source, b"%d" % number)
    rig.delete_records(source, 2)

    assert rig.admin().uncommitted(unique("group"), [source.topic]) == {source.topic: 1}


def test_the_ends_of_partitions_are_told_to_who_reads_none_of_them(rig: Rig) -> None:
    topic = unique("topic")
    empty, filled = TopicPartition(topic, 0), TopicPartition(topic, 1)
    rig.admin().create({topic: Layout(2)})
    for number in range(3):
        rig.append(filled, b"%d" % number)

    assert rig.admin().ends([empty, filled], "read_committed") == {empty: 0, filled: 3}
    assert rig.admin().ends([], "read_committed") == {}


def test_the_end_behind_a_control_record_is_behind_it(rig: Rig) -> None:
    source = TopicPartition(unique("topic"), 0)
    rig.admin().create({source.topic: Layout(1)})
    rig.append_transaction(source, b"committed")
    rig.append_aborted(source, b"aborted")

    assert rig.admin().ends([source], "read_committed") == {source: 4}


def test_partitions_without_an_end_do_not_hide_those_of_others(rig: Rig) -> None:
    here, gone = TopicPartition(unique("topic"), 0), TopicPartition(unique("topic"), 0)
    rig.admin().create({here.topic: Layout(1)})
    rig.append(here, b"")
    beyond = TopicPartition(here.topic, 7)

    assert rig.admin().ends([gone, here, beyond], "read_committed") == {here: 1}
    assert rig.admin().ends([gone], "read_uncommitted") == {}


def test_who_does_not_answer_is_no_answer(rig: Rig) -> None:
    with pytest.raises(BrokersUnreachable):
        rig.stranded_admin().ends([TopicPartition("topic", 0)], "read_committed")


def test_topics_with_names_that_kafka_does_not_allow_are_refused_and_the_others_made(
    rig: Rig,
) -> None:
    fine, illegal = unique("topic"), ["a b", "x" * 250, ".", ""]

    with pytest.raises(TopicsRefused) as raised:
        rig.admin().create({name: Layout() for name in [*illegal, fine]})

    assert sorted(raised.value.topics) == sorted(illegal)
    assert list(rig.admin().describe([fine, *illegal[:3]])) == [fine]


def test_it_is_told_how_a_topic_is_configured(rig: Rig) -> None:
    topic = unique("topic")
    rig.admin().create({topic: Layout(config={"retention.ms": "60000"})})

    assert rig.admin().describe([topic])[topic].config["retention.ms"] == "60000"


def test_closing_is_idempotent(rig: Rig) -> None:
    admin = rig.admin()

    admin.close()
    admin.close()
