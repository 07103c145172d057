"""The faults that transactions in memory can be told to have, and their time."""

from __future__ import annotations

import pytest

from tests.deliveries import Deliveries
from tests.testing.test_memory import member_of
from worker.errors import ClientError, ClientFatal, Fenced, TransactionFailed
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.transactional import MemoryTransactional
from worker.types import Commit, Encoded, TopicPartition

SOURCE = TopicPartition("flights", 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    made = MemoryBroker(clock)
    made.create("flights", partitions=2)
    made.create("delays", partitions=1)
    return made


def writing(broker: MemoryBroker, value: bytes) -> MemoryTransactional:
    """A producer with a record in a transaction that is open."""
    producer, deliveries = broker.transactional("identity", timeout=30.0), Deliveries()
    producer.take_over(0.0)
    producer.begin()
    producer.send([Encoded("delays", value)], deliveries.stored, deliveries.failed)
    producer.poll(0.0)
    assert deliveries.errors == [None]
    return producer


def values(broker: MemoryBroker) -> list[bytes | None]:
    return [message.value for message in broker.records("delays")]


def test_a_transaction_that_is_open_for_too_long_is_aborted_and_its_producer_shut_out(
    broker: MemoryBroker, clock: ManualClock
) -> None:
    member, producer = member_of(broker), writing(broker, b"late")
    broker.append("delays", b"behind")

    clock.advance(29.9)
    before = values(broker)
    clock.advance(0.1)
    after = values(broker)

    assert (before, after) == ([], [b"behind"])
    with pytest.raises(Fenced):
        producer.commit({SOURCE: Commit(1)}, member.consumer.membership(), 0.0)
    writing(broker, b"again").commit({SOURCE: Commit(1)}, member.consumer.membership(), 0.0)
    assert values(broker) == [b"behind", b"again"]
    assert broker.committed("group") == {SOURCE: 1}


def test_a_producer_can_be_shut_out_by_another_of_its_identity(broker: MemoryBroker) -> None:
    producer = writing(broker, b"early")
    producer.shut_out()

    with pytest.raises(Fenced):
        producer.commit({}, None, 0.0)
    assert values(broker) == []


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_without_an_answer_was_done_or_was_not_and_the_next_producer_can_tell(
    broker: MemoryBroker, *, committed: bool
) -> None:
    member, producer = member_of(broker), writing(broker, b"result")
    producer.lose_answer(committed=committed)

    with pytest.raises(ClientFatal):
        producer.commit({SOURCE: Commit(1, "map")}, member.consumer.membership(), 0.0)
    with pytest.raises(ClientFatal):
        producer.abort(0.0)
    producer.close(0.0)
    broker.transactional("identity").take_over(0.0)

    assert values(broker) == ([b"result"] if committed else [])
    expected = Commit(1, "map") if committed else None
    assert member.consumer.committed([SOURCE]) == {SOURCE: expected}


def test_while_offsets_wait_for_a_commit_nobody_is_told_what_is_committed(
    broker: MemoryBroker,
) -> None:
    member, producer = member_of(broker), writing(broker, b"result")
    producer.lose_answer(committed=False)
    with pytest.raises(ClientFatal):
        producer.commit({SOURCE: Commit(1)}, member.consumer.membership(), 0.0)
    member.consumer.close()

    heir = member_of(broker)
    before = dict(heir.owned)
    with pytest.raises(ClientError, match="UNSTABLE_OFFSET_COMMIT"):
        heir.consumer.committed([SOURCE])
    broker.transactional("identity").take_over(0.0)
    heir.poll()

    assert before == {}
    assert heir.owned == {SOURCE: None, TopicPartition("flights", 1): None}


def test_a_producer_that_is_in_doubt_begins_no_other_transaction(broker: MemoryBroker) -> None:
    producer = writing(broker, b"result")
    producer.doubt()

    producer.commit({}, None, 0.0)

    assert values(broker) == [b"result"]
    with pytest.raises(ClientFatal):
        producer.begin()


def test_a_commit_can_fail_so_that_only_an_abort_helps(broker: MemoryBroker) -> None:
    member, producer = member_of(broker), writing(broker, b"first")
    producer.fail_commits("ILLEGAL_GENERATION")
    commits = {SOURCE: Commit(1)}

    for _ in range(2):
        with pytest.raises(TransactionFailed, match="ILLEGAL_GENERATION"):
            producer.commit(commits, member.consumer.membership(), 0.0)
    producer.abort(0.0)
    between = values(broker), broker.committed("group")
    producer.begin()
    producer.commit(commits, member.consumer.membership(), 0.0)

    assert between == ([], {})
    assert broker.committed("group") == {SOURCE: 1}


def test_after_a_fatal_error_nothing_is_committed_and_another_producer_goes_on(
    broker: MemoryBroker,
) -> None:
    producer, deliveries = writing(broker, b"open"), Deliveries()
    producer.fail("OUT_OF_ORDER_SEQUENCE_NUMBER")

    with pytest.raises(ClientFatal):
        producer.commit({}, None, 0.0)
    with pytest.raises(ClientFatal):
        producer.send([Encoded("delays", b"")], deliveries.stored, deliveries.failed)
    broker.append("delays", b"behind")
    before = values(broker)
    writing(broker, b"next").commit({}, None, 0.0)

    assert before == []
    assert values(broker) == [b"behind", b"next"]


def test_while_the_broker_is_down_a_commit_has_no_answer(broker: MemoryBroker) -> None:
    producer = writing(broker, b"open")
    broker.stop()

    with pytest.raises(ClientFatal):
        producer.commit({}, None, 0.0)
    broker.start()
    broker.transactional("identity").take_over(0.0)

    assert values(broker) == []


def test_a_commit_waits_for_records_that_are_held(broker: MemoryBroker) -> None:
    producer, deliveries = writing(broker, b"first"), Deliveries()
    producer.hold_deliveries()
    producer.send([Encoded("delays", b"held")], deliveries.stored, deliveries.failed)

    with pytest.raises(ClientFatal):
        producer.commit({}, None, 0.0)

    assert values(broker) == []
