"""What every producer of transactions does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from tests.contract.member import DEADLINE, Members, until
from tests.contract.rig import Layout, Rig, unique
from tests.contract.test_consumer import filled, topic_of
from tests.contract.test_records import milliseconds
from tests.deliveries import Deliveries
from worker.errors import ClientError, ClientFatal, Fenced, QueueFull, TransactionFailed
from worker.ports import METADATA_TOO_LARGE, Transactional
from worker.types import Commit, Encoded, TopicPartition


class Make(Protocol):
    def __call__(
        self, identity: str | None = None, *, timeout: float = 30.0, queue: int = 1000
    ) -> Transactional: ...


@pytest.fixture
def make(rig: Rig) -> Iterator[Make]:
    """Makes producers that have taken over, and closes them."""
    made: list[Transactional] = []

    def make(
        identity: str | None = None, *, timeout: float = 30.0, queue: int = 1000
    ) -> Transactional:
        producer = rig.transactional(identity or unique("identity"), timeout=timeout, queue=queue)
        made.append(producer)
        producer.take_over(DEADLINE)
        return producer

    yield make
    for producer in made:
        producer.close(1.0)


def write(producer: Transactional, topic: str, *values: bytes) -> Deliveries:
    """Write records and wait until they lie in their log."""
    deliveries = Deliveries()
    records = [Encoded(topic, value, partition=0) for value in values]
    assert producer.send(records, deliveries.stored, deliveries.failed) == len(values)
    serve_until(producer, lambda: deliveries.errors)
    return deliveries


def serve_until(producer: Transactional, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s"
        producer.poll(0.1)


def refuse(producer: Transactional, topic: str) -> None:
    """Have a record of the open transaction fail; the topic takes 2,000 bytes."""
    deliveries = Deliveries()
    producer.send([Encoded(topic, b"x" * 3000)], deliveries.stored, deliveries.failed)
    serve_until(producer, lambda: deliveries.errors)


def begun(producer: Transactional, renew: Callable[[], Transactional]) -> Transactional:
    """A producer with a transaction that is begun: this one, or a new one where it begins none."""
    try:
        producer.begin()
    except ClientFatal:
        producer.close(0.0)
        producer = renew()
        producer.begin()
    return producer


def test_records_are_read_once_their_transaction_is_committed_and_hold_back_later_ones(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,) = filled(rig, 1)
    committed, all_there_is = (
        members.join(unique("group"), source.topic, isolation=isolation)
        for isolation in ("read_committed", "read_uncommitted")
    )
    producer = make()
    producer.begin()
    write(producer, source.topic, b"in transaction")
    rig.append(source, b"behind")

    until(lambda: len(all_there_is.received) == 3, committed, all_there_is)
    until(lambda: committed.received, committed)
    before = list(committed.values)
    producer.commit({}, None, DEADLINE)
    until(lambda: len(committed.received) == 3, committed)

    assert before == [b"0.0"]
    assert committed.values == all_there_is.values == [b"0.0", b"in transaction", b"behind"]


def test_records_of_an_aborted_transaction_are_not_read(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, producer = topic_of(rig), make()
    member = members.join(unique("group"), topic)

    producer.begin()
    write(producer, topic, b"aborted")
    producer.abort(DEADLINE)
    producer.begin()
    write(producer, topic, b"committed")
    producer.commit({}, None, DEADLINE)
    until(lambda: member.received, member)

    assert member.values == [b"committed"]


def test_whoever_reads_what_is_committed_takes_the_first_open_transaction_for_the_end(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,) = filled(rig, 3)
    member, table = members.settled(unique("group"), source.topic), rig.table()
    bold = members.join(unique("group"), source.topic, isolation="read_uncommitted")
    producer = make()
    producer.begin()
    write(producer, source.topic, b"in transaction")
    rig.append(source, b"behind")

    assert member.consumer.find([source], "newest") == {source: 3}
    assert [record.value() for record in table.read([source])] == [b"0.0", b"0.1", b"0.2"]
    assert (table.position(source), table.ends([source])) == (3, {source: 5})
    assert rig.admin().uncommitted(unique("group"), [source.topic]) == {source.topic: 3}
    assert rig.admin().ends([source], "read_committed") == {source: 3}
    assert rig.admin().ends([source], "read_uncommitted") == {source: 5}
    until(lambda: member.consumer.positions([source]) == {source: 3}, member)
    until(lambda: bold.consumer.ends([source]) == {source: 5}, member, bold)
    until(lambda: member.consumer.ends([source]) == {source: 3}, member, bold)
    producer.commit({}, None, DEADLINE)
    until(lambda: [record.value() for record in table.read([source])], member)
    assert table.position(source) >= 5
    table.close()


def test_offsets_and_what_is_noted_beside_them_are_committed_with_the_records(
    rig: Rig, members: Members, make: Make
) -> None:
    sources, producer = filled(rig, 5, partitions=2), make()
    member = members.settled(unique("group"), sources[0].topic)
    first, second = sources
    commits = {first: Commit(3, "sw1:3-4"), second: Commit(5)}

    producer.begin()
    write(producer, topic_of(rig), b"result")
    producer.commit(commits, member.consumer.membership(), DEADLINE)
    committed = settled(member.consumer.committed, sources)
    producer.begin()
    producer.commit({first: Commit(4)}, member.consumer.membership(), DEADLINE)

    assert committed == commits
    assert settled(member.consumer.committed, sources) == {**commits, first: Commit(4)}


def settled(ask: Callable[..., object], sources: list[TopicPartition]) -> object:
    """The answer once the coordinator has written down what it has promised."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return ask(sources)
        except ClientError:
            assert time.monotonic() < deadline


def test_offsets_of_an_aborted_transaction_are_not_committed(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,) = filled(rig, 5)
    topic = unique("topic")
    rig.admin().create({topic: Layout(config={"max.message.bytes": "2000"})})
    member, producer = members.settled(unique("group"), source.topic), make()
    producer.begin()
    refuse(producer, topic)

    with pytest.raises(TransactionFailed):
        producer.commit({source: Commit(5)}, member.consumer.membership(), DEADLINE)
    producer.abort(DEADLINE)

    assert settled(member.consumer.committed, [source]) == {source: None}


def test_a_transaction_may_be_empty(make: Make) -> None:
    producer = make()

    producer.begin()
    producer.commit({}, None, DEADLINE)
    producer.begin()
    producer.abort(DEADLINE)
    producer.begin()
    producer.commit({}, None, DEADLINE)


def test_outside_a_transaction_nothing_is_sent_or_committed_and_an_abort_does_nothing(
    rig: Rig, make: Make
) -> None:
    topic, producer, deliveries = topic_of(rig), make(), Deliveries()

    producer.abort(DEADLINE)
    with pytest.raises(ClientError, match="no transaction was begun"):
        producer.send([Encoded(topic, b"")], deliveries.stored, deliveries.failed)
    with pytest.raises(ClientError, match="no transaction was begun"):
        producer.commit({}, None, DEADLINE)
    producer.begin()
    write(producer, topic, b"in transaction")
    producer.commit({}, None, DEADLINE)

    assert deliveries.errors == []


def test_when_a_commit_returns_all_records_were_reported(rig: Rig, make: Make) -> None:
    topic, producer, deliveries = topic_of(rig, 4), make(), Deliveries()
    records = [Encoded(topic, b"%d" % n, b"%d" % n) for n in range(500)]

    producer.begin()
    for start in range(0, 500, 100):
        producer.send(records[start : start + 100], deliveries.stored, deliveries.failed)
    producer.commit({}, None, DEADLINE)

    assert deliveries.errors == [None] * 500


def test_when_an_abort_returns_all_records_were_reported(rig: Rig, make: Make) -> None:
    topic, producer = topic_of(rig), make()
    told: list[object] = []

    producer.begin()
    for _ in range(20):
        producer.send([Encoded(topic, b"")], told.append, told.append)
    producer.abort(DEADLINE)

    assert len(told) == 20


def test_a_record_that_fails_fails_its_transaction_and_the_next_one_is_none_the_worse(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, identity, deliveries = unique("topic"), unique("identity"), Deliveries()
    rig.admin().create({topic: Layout(config={"max.message.bytes": "2000"})})
    member, producer = members.join(unique("group"), topic), make(identity)
    producer.begin()
    write(producer, topic, b"its neighbour")
    refuse(producer, topic)

    with pytest.raises(TransactionFailed, match="MSG_SIZE_TOO_LARGE"):
        producer.send([Encoded(topic, b"later")], deliveries.stored, deliveries.failed)
    with pytest.raises(TransactionFailed, match="MSG_SIZE_TOO_LARGE"):
        producer.commit({}, None, DEADLINE)
    producer.abort(DEADLINE)
    next_one = begun(producer, lambda: make(identity))
    write(next_one, topic, b"next")
    next_one.commit({}, None, DEADLINE)
    until(lambda: member.received, member)

    assert member.values == [b"next"]


def test_a_record_that_is_refused_by_send_fails_nothing(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, producer, deliveries = topic_of(rig), make(queue=2), Deliveries()
    member = members.join(unique("group"), topic)
    first, second, third = (Encoded(topic, b"%d" % n) for n in range(3))

    producer.begin()
    assert producer.send([first, second, third], deliveries.stored, deliveries.failed) == 2
    with pytest.raises(QueueFull):
        producer.send([third], deliveries.stored, deliveries.failed)
    serve_until(producer, lambda: deliveries.errors)
    producer.send([third], deliveries.stored, deliveries.failed)
    producer.commit({}, None, DEADLINE)
    until(lambda: len(member.received) == 3, member)

    assert member.values == [b"0", b"1", b"2"]


def test_who_is_no_member_any_more_commits_nothing(rig: Rig, members: Members, make: Make) -> None:
    (source,) = filled(rig, 5)
    topic, group, producer = topic_of(rig), unique("group"), make()
    former = members.settled(group, source.topic)
    membership = former.consumer.membership()
    former.consumer.close()
    member = members.settled(group, source.topic)
    reader = members.join(unique("group"), topic)

    producer.begin()
    write(producer, topic, b"of the former")
    with pytest.raises(TransactionFailed):
        producer.commit({source: Commit(5)}, membership, DEADLINE)
    producer.abort(DEADLINE)
    before = settled(member.consumer.committed, [source])
    producer.begin()
    write(producer, topic, b"of the member")
    producer.commit({source: Commit(2)}, member.consumer.membership(), DEADLINE)
    until(lambda: reader.received, reader)

    assert before == {source: None}
    assert reader.values == [b"of the member"]
    assert settled(member.consumer.committed, [source]) == {source: Commit(2)}


def test_what_is_noted_beside_offsets_may_be_too_long_and_the_error_says_so(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,) = filled(rig, 5)
    member, producer = members.settled(unique("group"), source.topic), make()

    producer.begin()
    with pytest.raises(TransactionFailed, match=METADATA_TOO_LARGE):
        producer.commit({source: Commit(5, "x" * 4096)}, member.consumer.membership(), DEADLINE)
    producer.abort(DEADLINE)
    producer.begin()
    producer.commit({source: Commit(5, "x" * 4095)}, member.consumer.membership(), DEADLINE)

    assert settled(member.consumer.committed, [source]) == {source: Commit(5, "x" * 4095)}


def test_who_takes_over_aborts_what_was_begun_and_the_former_owner_is_shut_out_for_good(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, identity = topic_of(rig), unique("identity")
    member = members.join(unique("group"), topic)
    former = make(identity)
    former.begin()
    write(former, topic, b"of the former")

    heir = make(identity)
    heir.begin()
    write(heir, topic, b"of the heir")
    heir.commit({}, None, DEADLINE)
    until(lambda: member.received, member)

    deliveries = Deliveries()
    with pytest.raises(Fenced):
        former.commit({}, None, DEADLINE)
    with pytest.raises(Fenced):
        former.send([Encoded(topic, b"late")], deliveries.stored, deliveries.failed)
    with pytest.raises(Fenced):
        former.abort(DEADLINE)
    with pytest.raises(Fenced):
        former.begin()
    assert member.values == [b"of the heir"]


def test_one_that_was_shut_out_meanwhile_learns_of_it_and_nothing_it_writes_is_read(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, identity, deliveries = topic_of(rig), unique("identity"), Deliveries()
    member = members.join(unique("group"), topic)
    former = make(identity)
    heir = make(identity)

    former.begin()
    former.send([Encoded(topic, b"of the former")], deliveries.stored, deliveries.failed)
    with pytest.raises(Fenced):
        former.commit({}, None, DEADLINE)
    heir.begin()
    write(heir, topic, b"of the heir")
    heir.commit({}, None, DEADLINE)
    until(lambda: member.received, member)
    former.close(1.0)

    assert member.values == [b"of the heir"]
    assert len(deliveries.errors) == 1
    assert deliveries.errors[0] is not None


def test_producers_of_different_identities_do_not_disturb_each_other(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, one, other = topic_of(rig), make(), make()
    member = members.join(unique("group"), topic)

    one.begin()
    other.begin()
    write(one, topic, b"one")
    write(other, topic, b"other")
    other.commit({}, None, DEADLINE)
    one.abort(DEADLINE)
    until(lambda: member.received, member)

    assert member.values == [b"other"]


def test_closing_aborts_what_is_open_and_is_idempotent(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,) = filled(rig, 0)
    member, producer = members.join(unique("group"), source.topic), make()
    producer.begin()
    write(producer, source.topic, b"open")

    producer.close(DEADLINE)
    producer.close(DEADLINE)
    rig.append(source, b"behind")
    until(lambda: member.received, member)

    assert member.values == [b"behind"]


def test_without_an_answer_an_identity_may_be_taken_over_later(rig: Rig) -> None:
    producer = rig.stranded_transactional()

    for _ in range(2):
        with pytest.raises(ClientError) as raised:
            producer.take_over(0.1)
        assert raised.value.retriable
    producer.close(0.1)


def test_a_transaction_that_ends_later_holds_back_one_that_began_later(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,) = filled(rig, 0)
    member, early, late = members.join(unique("group"), source.topic), make(), make()

    early.begin()
    write(early, source.topic, b"early")
    late.begin()
    write(late, source.topic, b"late")
    late.commit({}, None, DEADLINE)
    until(lambda: rig.admin().ends([source], "read_uncommitted") == {source: 3}, member)
    before = rig.admin().ends([source], "read_committed"), list(member.values)
    early.abort(DEADLINE)
    until(lambda: member.received, member)

    assert before == ({source: 0}, [])
    assert [(message.offset, message.value) for message in member.received] == [(1, b"late")]


def test_a_time_leads_no_further_than_the_first_open_transaction(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,), producer = filled(rig, 0), make()
    find = members.settled(unique("group"), source.topic).consumer.find

    producer.begin()
    write(producer, source.topic, b"open")
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)
    rig.append(source, b"behind", timestamp=milliseconds(later))
    before = find([source], later)
    producer.commit({}, None, DEADLINE)
    until(lambda: find([source], later) != before)

    assert before == {source: 0}
    assert find([source], later) == {source: 1}


def test_a_transaction_that_is_open_for_longer_than_its_time_is_aborted_and_its_producer_fenced(
    rig: Rig, members: Members, make: Make
) -> None:
    (source,), identity = filled(rig, 0), unique("identity")
    member = members.join(unique("group"), source.topic)
    slow = make(identity, timeout=1.0)
    slow.begin()
    write(slow, source.topic, b"slow")
    rig.append(source, b"behind")

    rig.pass_time(1.0)
    until(lambda: member.received, member)
    with pytest.raises(Fenced):
        slow.commit({}, None, DEADLINE)
    heir = make(identity)
    heir.begin()
    write(heir, source.topic, b"heir")
    heir.commit({}, None, DEADLINE)
    until(lambda: len(member.received) == 2, member)

    assert member.values == [b"behind", b"heir"]


def test_while_offsets_of_a_transaction_are_open_nobody_is_told_what_is_committed(rig: Rig) -> None:
    (source,), group = filled(rig, 3), unique("group")
    consumer = rig.consumer(group)
    consumer.commit({source: Commit(1)}, wait=True)
    other = rig.consumer(unique("group"))

    with rig.open_offsets(group, {source: Commit(2)}):
        assert other.committed([source]) == {source: None}
        with pytest.raises(ClientError):
            consumer.committed([source])

    assert settled(consumer.committed, [source]) == {source: Commit(1)}
    for each in (consumer, other):
        each.close()


def test_a_batch_that_is_refused_fails_its_transaction_as_a_whole(
    rig: Rig, members: Members, make: Make
) -> None:
    topic, deliveries, producer = unique("topic"), Deliveries(), make()
    rig.admin().create({topic: Layout(config={"cleanup.policy": "compact"})})
    good, bad = Encoded(topic, b"good", b"key"), Encoded(topic, b"bad")

    producer.begin()
    producer.send([good, bad, good], deliveries.stored, deliveries.failed)
    with pytest.raises(TransactionFailed, match="INVALID_RECORD"):
        producer.commit({}, None, DEADLINE)
    producer.abort(DEADLINE)

    assert len([error for error in deliveries.errors if error is not None]) == 3


def test_a_record_that_nobody_takes_fails_its_transaction_in_half_of_its_time(
    rig: Rig, make: Make
) -> None:
    deliveries, producer = Deliveries(), make(timeout=2.0)

    producer.begin()
    producer.send([Encoded(unique("topic"), b"")], deliveries.stored, deliveries.failed)
    rig.pass_time(1.0)
    serve_until(producer, lambda: deliveries.errors)
    with pytest.raises(TransactionFailed, match="_MSG_TIMED_OUT"):
        producer.commit({}, None, DEADLINE)
    producer.abort(DEADLINE)


def test_after_a_record_that_was_refused_only_a_new_producer_begins(rig: Rig, make: Make) -> None:
    topic, producer = unique("topic"), make()
    rig.admin().create({topic: Layout(config={"max.message.bytes": "2000"})})

    producer.begin()
    refuse(producer, topic)
    producer.abort(DEADLINE)

    with pytest.raises(ClientFatal):
        producer.begin()
