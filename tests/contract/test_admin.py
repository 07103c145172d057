"""What every admin client does."""

from __future__ import annotations

from tests.contract.rig import Layout, Rig, unique


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


def test_nothing_is_described_and_made_of_nothing(rig: Rig) -> None:
    rig.admin().create({})

    assert rig.admin().describe([]) == {}


def test_closing_is_idempotent(rig: Rig) -> None:
    admin = rig.admin()

    admin.close()
    admin.close()
