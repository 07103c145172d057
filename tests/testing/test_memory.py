"""The faults that the memory broker can be told to have, and its time."""

from __future__ import annotations

import threading

import pytest

from tests.contract.member import Member
from tests.deliveries import Deliveries
from worker.errors import BrokersUnreachable, ClientError, ClientFatal, CommitFailed
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.consumer import MemoryConsumer
from worker.testing.memory.log import murmur2
from worker.types import Commit, Encoded, TopicPartition

SOURCE = TopicPartition("flights", 0)


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker(ManualClock())
    made.create("flights", partitions=2)
    return made


def member_of(broker: MemoryBroker, group: str = "group") -> Member:
    consumer = broker.consumer(group)
    member = Member(f"member {len(broker.consumers)}", consumer, [])
    consumer.subscribe(["flights"], member)
    member.poll()
    return member


def test_a_killed_member_keeps_its_partitions_until_the_group_expires_it(
    broker: MemoryBroker,
) -> None:
    killed, other = member_of(broker), member_of(broker)

    broker.consumers[0].kill()
    other.poll()
    before = dict(other.owned)
    broker.expire(broker.consumers[0])
    other.poll()

    assert before == {}
    assert len(other.owned) == 2
    assert [what for what, _ in killed.events] == ["assigned"]
    with pytest.raises(ClientFatal):
        killed.poll()


class Shut(Member):
    """One that the group takes for dead as it is told that it may write."""

    def admitted(self) -> None:
        super().admitted()
        if self.admissions == 2:
            assert isinstance(self.consumer, MemoryConsumer)
            self.consumer.expire()


def test_who_is_taken_for_dead_within_a_poll_is_told_nothing_before_it_has_joined_anew(
    broker: MemoryBroker,
) -> None:
    first = member_of(broker)
    first.when_revoked = lambda _partitions: broker.expire(broker.consumers[0])
    member_of(broker)

    first.poll()
    told = [what for what, _ in first.events]
    first.poll()

    assert told == ["assigned", "revoked"]
    assert [what for what, _ in first.events[2:]] == ["lost", "assigned"]


def test_nor_is_who_is_taken_for_dead_as_it_is_admitted(broker: MemoryBroker) -> None:
    first = Shut("first", broker.consumer("group"), [])
    first.consumer.subscribe(["flights"], first)
    first.poll()
    member_of(broker)

    first.poll()

    assert [what for what, _ in first.events] == ["assigned", "revoked"]


def test_a_member_can_win_a_partition_of_another(broker: MemoryBroker) -> None:
    first, second = member_of(broker), member_of(broker)
    for member in (first, second):
        member.poll()

    broker.consumers[1].win(SOURCE)
    second.poll()
    before = SOURCE in second.owned
    first.poll()
    second.poll()

    assert not before, "it is not given back yet"
    assert SOURCE in second.owned
    assert SOURCE not in first.owned


def test_a_commit_can_be_refused(broker: MemoryBroker) -> None:
    member = member_of(broker)
    broker.consumers[0].fail_commits("REQUEST_TIMED_OUT", times=2)

    with pytest.raises(CommitFailed, match="REQUEST_TIMED_OUT"):
        member.consumer.commit({SOURCE: Commit(1)}, wait=True)
    member.consumer.commit({SOURCE: Commit(1)}, wait=False)
    member.poll()

    assert member.commits == [({SOURCE: Commit(1)}, "REQUEST_TIMED_OUT")]
    assert broker.committed("group") == {}


def test_a_consumer_can_fail(broker: MemoryBroker) -> None:
    member = member_of(broker)

    broker.consumers[0].fail(ClientFatal("broken"))

    with pytest.raises(ClientFatal, match="broken"):
        member.poll()


def test_while_the_broker_is_down_everything_waits_and_nothing_is_lost(
    broker: MemoryBroker,
) -> None:
    member, producer, deliveries = member_of(broker), broker.producer(), Deliveries()
    broker.append("flights", b"before", partition=0)

    broker.stop()
    during = Encoded("flights", b"during", partition=0)
    producer.send([during], deliveries.stored, deliveries.failed)
    member.consumer.commit({SOURCE: Commit(0)}, wait=False)
    member.poll()
    producer.poll(0.0)
    seen = [*member.values, *member.commits, *deliveries.errors, member.consumer.connected]
    with pytest.raises(CommitFailed):
        member.consumer.commit({SOURCE: Commit(0)}, wait=True)
    with pytest.raises(ClientError):
        member.consumer.find([SOURCE], "oldest")
    with pytest.raises(BrokersUnreachable):
        broker.admin().describe(["flights"])
    broker.start()
    producer.poll(0.0)
    member.poll()

    assert seen == [False]
    assert member.values == [b"before", b"during"]
    assert member.commits == [({SOURCE: Commit(0)}, None)]
    assert deliveries.errors == [None]


def test_a_delivery_that_fails_leaves_no_record_and_those_after_it_go_on(
    broker: MemoryBroker,
) -> None:
    producer, deliveries = broker.producer(), Deliveries()
    producer.fail_next("_MSG_TIMED_OUT", times=1, when=lambda record: record.value == b"2")

    for value in (b"1", b"2", b"3"):
        producer.send([Encoded("flights", value)], deliveries.stored, deliveries.failed)
    producer.poll(0.0)

    assert [str(error) for error in deliveries.errors] == ["None", "_MSG_TIMED_OUT", "None"]
    assert {message.value for message in broker.records("flights")} == {b"1", b"3"}


def test_held_deliveries_arrive_in_order_when_they_are_released(broker: MemoryBroker) -> None:
    producer, deliveries = broker.producer(), Deliveries()
    producer.hold_deliveries()

    for value in (b"1", b"2"):
        one = Encoded("flights", value, partition=0)
        producer.send([one], deliveries.stored, deliveries.failed)
    held = producer.poll(0.0)
    producer.release()
    producer.poll(0.0)

    assert held == 0
    assert deliveries.errors == [None, None]
    assert [message.value for message in broker.records("flights")] == [b"1", b"2"]


def test_those_of_one_topic_are_held_alone(broker: MemoryBroker) -> None:
    broker.create("others", partitions=1)
    producer, deliveries = broker.producer(), Deliveries()
    producer.hold_deliveries(topic="others")

    for topic in ("flights", "others"):
        producer.send([Encoded(topic, b"1")], deliveries.stored, deliveries.failed)
    producer.poll(0.0)

    assert len(broker.records("flights")) == 1
    assert not broker.records("others")


def test_a_delivery_may_fail_whose_record_is_stored(broker: MemoryBroker) -> None:
    producer, deliveries = broker.producer(), Deliveries()
    producer.fail_next(stored=True)

    producer.send([Encoded("flights", b"1")], deliveries.stored, deliveries.failed)
    producer.poll(0.0)

    assert [str(error) for error in deliveries.errors] == ["_MSG_TIMED_OUT"]
    assert [message.value for message in broker.records("flights")] == [b"1"]


def test_a_producer_can_fail_for_good(broker: MemoryBroker) -> None:
    producer, deliveries = broker.producer(), Deliveries()
    producer.hold_deliveries()
    producer.send([Encoded("flights", b"1")], deliveries.stored, deliveries.failed)

    producer.fail("_FENCED")
    producer.poll(0.0)

    assert [str(error) for error in deliveries.errors] == ["_FENCED"]
    with pytest.raises(ClientFatal, match="_FENCED"):
        producer.send([Encoded("flights", b"2")], deliveries.stored, deliveries.failed)


def test_a_topic_that_appears_later_is_assigned_to_those_who_wait_for_it() -> None:
    broker = MemoryBroker(ManualClock())
    member = member_of(broker)

    broker.create("flights", partitions=1)
    member.poll()

    assert list(member.owned) == [SOURCE]


def test_partitions_are_shared_evenly_among_many_members(broker: MemoryBroker) -> None:
    broker.create("other", partitions=5)
    members = [member_of(broker) for _ in range(3)]

    for _ in range(3):
        for member in members:
            member.poll()

    assert sorted(len(member.owned) for member in members) == [0, 1, 1]


def test_records_carry_the_time_of_the_clock() -> None:
    clock = ManualClock(1_000.0)
    broker = MemoryBroker(clock)
    broker.create("flights")

    clock.advance(2.5)

    assert broker.append("flights", b"").timestamp == 1_002_500
    assert clock.monotonic() == 2.5


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match=r"cannot pass by -1 s: give seconds >= 0"):
        ManualClock().advance(-1)


def test_with_real_time_a_poll_waits_for_what_another_thread_sends() -> None:
    broker = MemoryBroker()
    broker.create("flights", partitions=1)
    member = member_of(broker)
    sender = threading.Thread(target=broker.append, args=("flights", b"late"))

    sender.start()
    fetches = member.consumer.poll(1, 30.0)
    sender.join()

    assert [message.value() for fetch in fetches for message in fetch.messages] == [b"late"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_in_kafkas_own_tests(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF
