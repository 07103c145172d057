"""Membership in consumer groups, at least once, under every protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from threading import Event
from types import MappingProxyType

import pytest

from tests.client.rig import DEADLINE, Inbox, Share, unique, until, values
from tests.system.rig import Kafka as Cluster
from worker import Kafka, KafkaSettings, Message, TopicConfig
from worker.errors import ConsumeFailed, NotInConsumerGroup

pytestmark = pytest.mark.kafka


QUICK = {"session_timeout": "6s", "heartbeat": "1s"}


def member(
    address: str,
    group: Mapping[str, str] = MappingProxyType(QUICK),
    librdkafka: Mapping[str, int] = MappingProxyType({}),
) -> Kafka:
    """A client that joins groups and begins at the oldest."""
    return Kafka(
        KafkaSettings.model_validate(
            {
                "brokers": address,
                "consumer": {"offsets": "oldest"},
                "group": dict(group),
                "librdkafka": dict(librdkafka),
            }
        )
    )


@pytest.mark.parametrize(
    "group",
    [
        {**QUICK, "rebalance": "sticky"},
        {**QUICK, "rebalance": "range"},
        {**QUICK, "rebalance": "roundrobin"},
        {"protocol": "consumer"},
        {"protocol": "consumer", "rebalance": "range"},
    ],
    ids=["sticky", "range", "roundrobin", "consumer", "consumer-range"],
)
def test_three_members_share_the_partitions_and_take_over_from_one_that_leaves(
    client: Kafka, kafka_address: str, group: dict[str, str]
) -> None:
    topic, name, inbox = unique("topic"), unique("group"), Inbox()
    client.create_topic(topic, TopicConfig(6))
    shares = [Share() for _ in range(3)]
    with ExitStack() as stack:
        members = [stack.enter_context(member(kafka_address, group)) for _ in shares]
        for one, share in zip(members, shares, strict=True):
            one.join_group(
                name,
                topic,
                inbox,
                assigned=share.assigned,
                revoked=share.revoked,
                lost=share.lost,
                background=True,
            )
        until(lambda: [len(share.partitions) for share in shares] == [2, 2, 2])
        send_to_all(client, topic, 60)
        first = inbox.take(60)
        members[0].leave_group()
        until(lambda: [len(share.partitions) for share in shares] == [0, 3, 3])
        send_to_all(client, topic, 60)
        second = inbox.take(60)

    assert len(set.union(*(share.partitions for share in shares))) == 0
    assert Counter(values(first)) == Counter(b"%d" % one for one in range(60))
    assert Counter(values(second)) == Counter(b"%d" % one for one in range(60))
    assert all("lost" not in share.told for share in shares)


def send_to_all(client: Kafka, topic: str, number: int) -> None:
    for one in range(number):
        client.send_async(topic, f"{one}", partition=one % 6)
    assert client.producer.flush(DEADLINE) == 0


def test_what_was_handled_is_committed_and_the_next_member_goes_on_there(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    group, first, second = unique("group"), Inbox(), Inbox()
    with member(kafka_address) as one:
        for number in range(3):
            client.send(topic, f"{number}", partition=0)
        one.join_group(group, topic, first, background=True)
        first.take(3)
        one.leave_group()
        client.send(topic, "3", partition=0)

        one.join_group(group, topic, second, background=True)

        assert values(second.take(1)) == [b"3"]
        one.leave_group()
    assert Cluster(kafka_address).committed(group, topic, 3)[0] == 4


def test_offsets_are_committed_while_the_member_stays(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    group, inbox = unique("group"), Inbox()
    client.send(topic, "x", partition=1)
    with member(kafka_address) as one:
        one.join_group(group, topic, inbox, background=True)
        inbox.take(1)

        until(lambda: Cluster(kafka_address).committed(group, topic, 3)[1] == 1)


def test_a_message_whose_handler_raised_is_not_committed_and_comes_again(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    group, again = unique("group"), Inbox()
    for number in range(5):
        client.send(topic, f"{number}", partition=0)

    def handle(message: Message) -> None:
        if message.offset == 3:
            raise ValueError("no")

    with member(kafka_address) as one:
        with pytest.raises(ConsumeFailed, match=r"@3\): ValueError: no; .* was not committed"):
            one.join_group(group, topic, handle)
        with pytest.raises(NotInConsumerGroup):
            one.leave_group()
        assert Cluster(kafka_address).committed(group, topic, 3)[0] == 3

        one.join_group(group, topic, again, background=True)

        assert values(again.take(2)) == [b"3", b"4"]


def test_a_handler_that_becomes_slow_keeps_its_membership_and_its_commits(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    """Thirty messages of 0.3 s take longer than the client may go without a poll, 6 s."""
    group, share, seen, slow, done = unique("group"), Share(), list[int](), Event(), Event()
    for _ in range(530):
        client.send_async(topic, "x", partition=0)
    client.producer.flush(DEADLINE)

    def handle(message: Message) -> None:
        if message.offset >= 500:
            slow.set()
            Event().wait(0.3)
        seen.append(message.offset)
        if len(seen) == 530:
            done.set()

    with member(kafka_address, librdkafka={"max.poll.interval.ms": 6000}) as one:
        one.join_group(group, topic, handle, lost=share.lost, background=True)
        assert slow.wait(DEADLINE)
        until(lambda: Cluster(kafka_address).committed(group, topic, 3)[0] > 500)
        assert not done.is_set()

        assert done.wait(DEADLINE)
        one.leave_group()
    assert seen == list(range(530))
    assert share.told == []


def test_a_group_that_begins_at_the_newest_loses_nothing_from_then_on(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    group, share, again = unique("group"), Share(), Inbox()

    def handle(_message: Message) -> None:
        raise ValueError("no")

    with Kafka(kafka_address) as one:
        one.join_group(group, topic, handle, assigned=share.assigned, background=True)
        until(lambda: len(share.partitions) == 3)
        client.send(topic, "precious")
        until(lambda: one.stats().active_consumers == 0)
        with pytest.raises(ConsumeFailed):
            one.leave_group()

        one.join_group(group, topic, again, background=True)

        assert values(again.take(1)) == [b"precious"]


def test_a_callback_that_raises_ends_the_membership(client: Kafka, topic: str) -> None:
    def assigned(_partitions: object) -> None:
        raise KeyError("no")

    with pytest.raises(ConsumeFailed, match="assigned raised: KeyError: 'no'") as caught:
        client.join_group(unique("group"), topic, print, assigned=assigned)

    assert isinstance(caught.value.__cause__, KeyError)


def test_a_static_member_that_comes_back_has_its_partitions_without_a_rebalance(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    group, inbox, others = unique("group"), Inbox(), Share()
    first, second = {**QUICK, "instance": "one"}, {**QUICK, "instance": "two"}
    with member(kafka_address, first) as one, member(kafka_address, second) as two:
        two.join_group(
            group, topic, inbox, assigned=others.assigned, revoked=others.revoked, background=True
        )
        until(lambda: others.partitions)
        share = Share()
        one.join_group(group, topic, inbox, assigned=share.assigned, background=True)
        until(lambda: share.partitions and len(others.partitions) + len(share.partitions) == 3)
        before, kept, revoked = (
            share.partitions,
            set(others.partitions),
            others.told.count("revoked"),
        )
        one.leave_group()

        share = Share()
        one.join_group(group, topic, inbox, assigned=share.assigned, background=True)
        until(lambda: share.partitions)

        assert share.partitions == before
        assert others.partitions == kept
        assert others.told.count("revoked") == revoked


def test_the_members_own_client_can_be_used_in_the_handler(
    client: Kafka, topic: str, kafka_address: str
) -> None:
    ids = list[str]()

    def handle(_message: Message) -> None:
        ids.append(str(one.group_consumer.memberid()))
        one.leave_group()

    client.send(topic, "x", partition=0)
    with member(kafka_address) as one:
        one.join_group(unique("group"), topic, handle)

    assert ids[0].startswith("stream-worker-")
