"""What only a real Kafka does to producers of transactions."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from threading import Timer
from typing import TypeVar

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from tests.console import TRANSACTIONS
from tests.contract.member import DEADLINE, Member, until
from tests.contract.rig import Layout, unique
from tests.coordinators import GROUPS, coordinator
from tests.coordinators import TRANSACTIONS as TRANSACTION_LOG
from tests.deliveries import Deliveries
from worker.errors import ClientError, ClientFatal, CommitFailed, Fenced
from worker.kafka import config, transactional
from worker.kafka.admin import KafkaAdmin
from worker.kafka.broker import KafkaCluster
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.java import find_kafka
from worker.kafka.table import KafkaTable
from worker.kafka.transactional import KafkaTransactional
from worker.ports import Membership
from worker.settings import GroupSettings, KafkaSettings
from worker.types import Commit, Encoded, TopicPartition

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
KILLS = 5
T = TypeVar("T")


class Place:
    """A topic to read, one to write to, a group and an identity of the same name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.kafka = KafkaSettings(
            brokers=address.split(","), group=GroupSettings(session_timeout=6.0, heartbeat=0.3)
        )
        self.source = TopicPartition(unique("source"), 0)
        self.target = unique("target")
        self.identity = unique("identity")
        KafkaAdmin(self.kafka).create({self.source.topic: Layout(), self.target: Layout()})
        self._table = KafkaTable(self.kafka, unique("group"))
        self._read: list[bytes | None] = []

    def producer(
        self, identity: str | None = None, timeout: float = DEADLINE
    ) -> KafkaTransactional:
        """A producer that has taken over, by default the identity of this place."""
        properties = config.transactional(self.kafka, {}, identity or self.identity, timeout)
        producer = KafkaTransactional(properties)
        producer.take_over(DEADLINE)
        return producer

    def member(self, instance: str | None = None) -> Member:
        properties = config.member(self.kafka, self.identity, "read_committed", instance)
        member = Member("member", KafkaConsumer(properties), [])
        member.consumer.subscribe([self.source.topic], member)
        until(lambda: member.owned, member)
        return member

    def write(self, producer: KafkaTransactional, value: bytes) -> None:
        """Begin a transaction and wait until its record is in the log."""
        producer.begin()
        deliveries = Deliveries()
        producer.send([Encoded(self.target, value)], deliveries.stored, deliveries.failed)
        deadline = time.monotonic() + DEADLINE
        while not deliveries.errors:
            assert time.monotonic() < deadline
            producer.poll(0.1)
        assert deliveries.errors == [None]

    def read(self) -> list[bytes | None]:
        """The values that are committed."""
        found = self._table.read([TopicPartition(self.target, 0)])
        self._read += [record.value() for record in found]
        return self._read

    def committed(self) -> Commit | None:
        """What the group has committed, once the coordinator has written it down."""
        consumer = KafkaConsumer(config.member(self.kafka, self.identity, "read_committed"))
        found = answered(lambda: consumer.committed([self.source]))[self.source]
        consumer.close()
        return found

    @contextmanager
    def process(self, how: str) -> Iterator[subprocess.Popen[str]]:
        """A process that writes transactions, killed at the end."""
        command = [sys.executable, "-m", "tests.kafka.transacting", self.address]
        command += [self.source.topic, self.target, self.identity, how]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def place(kafka_address: str) -> Place:
    return Place(kafka_address)


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """A Kafka of our own, which may be frozen."""
    with KafkaCluster() as made:
        yield made


def answered(ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return ask()
        except ClientError:
            assert time.monotonic() < deadline


def test_of_a_transaction_that_timed_out_nothing_counts_and_the_assignment_is_current(
    place: Place,
) -> None:
    member, producer = place.member(), place.producer(timeout=1.0)
    place.write(producer, b"late")
    other = place.producer(unique("other"))
    place.write(other, b"behind")
    other.commit({}, None, DEADLINE)

    until(place.read, member)
    with pytest.raises(Fenced):
        producer.commit({place.source: Commit(1)}, member.consumer.membership(), DEADLINE)
    member.consumer.commit({place.source: Commit(0)}, wait=True)
    heir = place.producer()
    place.write(heir, b"again")
    heir.commit({place.source: Commit(1)}, member.consumer.membership(), DEADLINE)

    until(lambda: len(place.read()) == 2, member)
    assert place.read() == [b"behind", b"again"]
    assert place.committed() == Commit(1)


def test_of_a_zombie_nothing_counts_and_its_assignment_is_not_current(place: Place) -> None:
    zombie, its_producer = place.member("instance"), place.producer()
    place.write(its_producer, b"of the zombie")
    heir, producer = place.member("instance"), place.producer()
    place.write(producer, b"of the heir")
    producer.commit({place.source: Commit(2)}, heir.consumer.membership(), DEADLINE)

    with pytest.raises(Fenced):
        its_producer.commit({place.source: Commit(1)}, zombie.consumer.membership(), DEADLINE)
    with pytest.raises(CommitFailed):
        zombie.consumer.commit({place.source: Commit(1)}, wait=True)

    assert answered(place.read) == [b"of the heir"]
    assert place.committed() == Commit(2)


def test_a_zombie_whose_identity_is_its_own_commits_no_offsets_either(place: Place) -> None:
    """As with members of random names, of which the group alone knows that they are too late."""
    zombie, its_producer = place.member("instance"), place.producer(unique("its-own"))
    heir = place.member("instance")
    place.write(its_producer, b"of the zombie")

    with pytest.raises(ClientError):
        its_producer.commit({place.source: Commit(1)}, zombie.consumer.membership(), DEADLINE)
    its_producer.close(DEADLINE)
    heir.poll()

    assert place.read() == []
    assert place.committed() is None


@pytest.mark.usefixtures("no_collection")
def test_of_a_producer_that_was_fenced_nothing_is_left_once_it_is_let_go_of(place: Place) -> None:
    """Its threads would go on, and its statistics fill the memory."""
    zombie = place.producer()
    place.write(zombie, b"first")
    place.producer().close(DEADLINE)
    deliveries = Deliveries()
    records = [Encoded(place.target, b"another")] * 100
    zombie.send(records, deliveries.stored, deliveries.failed)

    with pytest.raises(Fenced):
        zombie.commit({}, None, DEADLINE)
    zombie.close(0.0)
    left = weakref.ref(zombie)
    del zombie

    assert left() is None


def test_its_client_ends_as_well_where_it_was_fenced_while_another_error_was_handled(
    place: Place,
) -> None:
    """As of a commit, after which the transaction cannot be aborted either."""
    others = clients()
    zombie = place.producer()
    own = clients() - others
    place.write(zombie, b"first")
    place.producer().close(DEADLINE)
    deliveries = Deliveries()
    zombie.send([Encoded(place.target, b"another")] * 100, deliveries.stored, deliveries.failed)

    try:
        raise LookupError
    except LookupError:
        with pytest.raises(Fenced):
            zombie.commit({}, None, DEADLINE)
        zombie.close(0.0)

    until(lambda: not own & clients())


def clients() -> set[str]:
    """Librdkafka's of this process, by the ids of their main threads."""
    found = set()
    for name in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has ended
            if name.read_text() == "rdk:main\n":
                found.add(name.parent.name)
    return found


def test_of_who_is_killed_between_offsets_and_commit_nothing_counts(place: Place) -> None:
    with place.process("between") as process:
        assert process.stdout is not None
        assert "ready\n" in process.stdout, "the process has ended"
    asking = KafkaConsumer(config.member(place.kafka, place.identity, "read_committed"))
    with pytest.raises(ClientError):
        asking.committed([place.source])
    asking.close()
    place.producer()

    assert place.committed() is None
    assert place.read() == []


def test_of_who_is_killed_at_any_moment_records_count_exactly_as_far_as_offsets(
    place: Place,
) -> None:
    for _ in range(KILLS):
        with place.process("on and on") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.uniform(0.0, 0.2))
        place.producer()
        committed = place.committed()
        assert committed is not None
        assert place.read() == [b"%d" % n for n in range(committed.offset)]
    assert len(place.read()) >= KILLS


def test_after_an_answer_that_was_late_a_producer_goes_on(cluster: KafkaCluster) -> None:
    place = Place(cluster.address)
    producer = place.producer()
    place.write(producer, b"committed")

    cluster.pause_node(0)
    timer = Timer(2 * transactional.PROMPT, cluster.resume_node, [0])
    timer.start()
    producer.commit({}, None, DEADLINE)
    timer.join()
    place.write(producer, b"next")
    producer.commit({}, None, DEADLINE)

    assert answered(place.read) == [b"committed", b"next"]


def test_after_an_answer_that_was_late_over_another_connection_only_a_new_producer_begins(
    cluster: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what else may tell so: a call that comes back, errors that are not like the last."""
    monkeypatch.setattr(transactional, "ANSWER_WITHIN", DEADLINE)
    monkeypatch.setattr(transactional, "_CUT_OFF", frozenset())
    place = Place(cluster.address)
    producer = place.producer()
    place.write(producer, b"committed")

    cluster.pause_node(0)
    timer = Timer(2 * transactional.PROMPT, restart, [cluster])
    timer.start()
    producer.commit({}, None, DEADLINE)
    timer.join()
    with pytest.raises(ClientFatal, match=r"an answer was late$") as raised:
        producer.begin()
    producer.close(DEADLINE)
    heir = place.producer()
    heir.begin()

    assert raised.value.retriable
    assert answered(place.read) == [b"committed"]


def restart(cluster: KafkaCluster) -> None:
    """Kill the only node and start it again."""
    cluster.kill_node(0)
    cluster.start_node(0)


def test_a_call_without_an_answer_is_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactional, "ANSWER_WITHIN", 0.001)

    producer = place.producer()

    place.write(producer, b"result")
    producer.commit({}, None, DEADLINE)
    assert answered(place.read) == [b"result"]


def test_a_commit_without_an_answer_is_settled_by_the_next_producer(cluster: KafkaCluster) -> None:
    place = Place(cluster.address)
    member, producer = place.member(), place.producer()
    place.write(producer, b"result")
    membership = member.consumer.membership()

    cluster.pause_node(0)
    with pytest.raises(ClientFatal, match="not known what became of the transaction"):
        producer.commit({place.source: Commit(1)}, membership, 0.1)
    with pytest.raises(ClientFatal):
        producer.abort(DEADLINE)
    cluster.resume_node(0)
    producer.close(0.0)
    place.producer()

    outcome = place.committed(), answered(place.read)
    assert outcome in [(None, []), (Commit(1), [b"result"])]
    member.consumer.close()


def second(place: Place, name: str, membership: Membership) -> KafkaTransactional | None:
    """A producer in its second transaction; None where the first has ended too late for that."""
    producer = place.producer(name)
    producer.begin()
    producer.commit({place.source: Commit(1)}, membership, DEADLINE)
    try:
        producer.begin()
    except ClientFatal:
        producer.close(0.0)
        return None
    return producer


def test_a_commit_comes_back_though_the_coordinator_of_the_group_is_gone() -> None:
    """When its client does is not in our hands: mostly as it looks for brokers again."""
    with KafkaCluster(3, heap="192m") as cluster:
        place = Place(cluster.address)
        member = place.member()
        place.producer().close(0.0)
        node = coordinator(cluster.address, GROUPS, place.identity)
        membership = member.consumer.membership()
        elsewhere, producer = next(
            (name, begun)
            for name in map(unique, repeat("identity"))
            if coordinator(cluster.address, TRANSACTION_LOG, name) != node
            and (begun := second(place, name, membership)) is not None
        )

        cluster.kill_node(node)
        while node in producer.client.list_topics(timeout=DEADLINE).brokers:
            pass
        with suppress(ClientError):
            producer.commit({place.source: Commit(2)}, membership, 5.0)
        producer.close(0.0)
        place.producer(elsewhere)

        assert answered(place.committed) in (Commit(1), Commit(2))
        member.consumer.close()


def test_after_a_seek_a_partition_is_read_on_behind_a_transaction_that_was_aborted(
    place: Place,
) -> None:
    member, producer = place.member(), place.producer()
    producer.begin()
    member.consumer.seek(place.source, 0)
    deliveries = Deliveries()
    producer.send([Encoded(place.source.topic, b"aborted")], deliveries.stored, deliveries.failed)
    producer.client.flush(DEADLINE)
    producer.abort(DEADLINE)
    there = [ClientPartition(*place.source)]
    assert isinstance(member.consumer, KafkaConsumer)
    client = member.consumer.client

    until(lambda: client.position(there)[0].offset == 2, member)

    assert member.consumer.positions([place.source]) == {place.source: 2}


def test_to_ask_whether_transactions_may_be_written_leaves_nothing_behind(place: Place) -> None:
    place.producer().close(0.0)

    transactional.require_right(place.kafka, f"{place.identity}.", DEADLINE)

    arguments = ["--bootstrap-server", place.address, "list"]
    listed = find_kafka().tool(TRANSACTIONS, arguments, timeout=90)
    lines = listed.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines if place.identity in line] == [place.identity]
