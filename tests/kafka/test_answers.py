"""What becomes of a transaction, whatever brokers answer, and that the next one is committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import pytest
from confluent_kafka import KafkaError

from tests.contract.member import Member, until
from tests.contract.rig import unique
from tests.deliveries import Deliveries
from tests.kafka.mocked import REQUESTS, MockCluster
from worker.errors import ClientError, ClientFatal, Fenced, TransactionFailed
from worker.kafka import config
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.transactional import KafkaTransactional
from worker.settings import GroupSettings, KafkaSettings
from worker.types import Commit, Encoded, TopicPartition

DEADLINE: Final = 30.0
SOURCE, TARGET = TopicPartition("source", 0), "target"
BROKERS = 3

PASSES = None
"""No error is seen: the client asks again."""
FENCED = ("INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED")
WAITING = ("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")
MEMBERS = ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "FENCED_INSTANCE_ID", "STALE_MEMBER_EPOCH")

Verdict = type[ClientError] | None
_OF_COORDINATORS: Mapping[str, Verdict] = {
    **dict.fromkeys(WAITING, PASSES),
    "CONCURRENT_TRANSACTIONS": PASSES,
    **dict.fromkeys(FENCED, Fenced),
    "INVALID_TXN_STATE": ClientFatal,
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": ClientFatal,
}
VERDICTS: Mapping[str, Mapping[str, Verdict]] = {
    "InitProducerId": {
        **dict.fromkeys((*WAITING, "CONCURRENT_TRANSACTIONS"), PASSES),
        **dict.fromkeys(FENCED, Fenced),
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": ClientFatal,
        "INVALID_TRANSACTION_TIMEOUT": ClientFatal,
    },
    "AddPartitionsToTxn": {
        **_OF_COORDINATORS,
        "TOPIC_AUTHORIZATION_FAILED": TransactionFailed,
        "INVALID_PRODUCER_ID_MAPPING": TransactionFailed,
    },
    "AddOffsetsToTxn": {
        **_OF_COORDINATORS,
        "GROUP_AUTHORIZATION_FAILED": TransactionFailed,
        "INVALID_PRODUCER_ID_MAPPING": TransactionFailed,
    },
    "Produce": {
        "NOT_ENOUGH_REPLICAS": PASSES,
        "NOT_LEADER_FOR_PARTITION": PASSES,
        "INVALID_PRODUCER_EPOCH": Fenced,
        "OUT_OF_ORDER_SEQUENCE_NUMBER": ClientFatal,
        "UNKNOWN_PRODUCER_ID": TransactionFailed,
        "TOPIC_AUTHORIZATION_FAILED": TransactionFailed,
        "MSG_SIZE_TOO_LARGE": TransactionFailed,
        "INVALID_RECORD": TransactionFailed,
    },
    "TxnOffsetCommit": {
        **_OF_COORDINATORS,
        **dict.fromkeys(MEMBERS, TransactionFailed),
        "REBALANCE_IN_PROGRESS": TransactionFailed,
        "GROUP_AUTHORIZATION_FAILED": TransactionFailed,
        "OFFSET_METADATA_TOO_LARGE": TransactionFailed,
        "INVALID_PRODUCER_ID_MAPPING": ClientFatal,
    },
    "EndTxn": {**_OF_COORDINATORS, "INVALID_PRODUCER_ID_MAPPING": TransactionFailed},
}
CASES = [
    pytest.param(request, name, verdict, id=f"{request}-{name}")
    for request, verdicts in VERDICTS.items()
    for name, verdict in verdicts.items()
]
CODES: Final = sorted(
    {code for code in vars(KafkaError).values() if isinstance(code, int) and code > 0}
)


class Mocked:
    """Mock brokers, with a member of a group that reads from them."""

    def __init__(self, cluster: MockCluster) -> None:
        self.cluster = cluster
        for topic in (SOURCE.topic, TARGET):
            cluster.create(topic, 1)
        self.group = unique("group")
        group = GroupSettings(session_timeout=6.0, heartbeat=0.3)
        self._kafka = KafkaSettings(brokers=cluster.address.split(","), group=group)
        properties = config.member(self._kafka, self.group, "read_committed")
        self.member = Member("member", KafkaConsumer(properties), [])
        self.member.consumer.subscribe([SOURCE.topic], self.member)
        until(lambda: self.member.owned, self.member)

    def producer(self, identity: str) -> KafkaTransactional:
        return KafkaTransactional(config.transactional(self._kafka, {}, identity, DEADLINE))

    def transact(self, producer: KafkaTransactional) -> None:
        """Commit a record and an offset."""
        deliveries = Deliveries()
        producer.begin()
        producer.send([Encoded(TARGET, b"")], deliveries.stored, deliveries.failed)
        membership = self.member.consumer.membership()
        producer.commit({SOURCE: Commit(1)}, membership, DEADLINE)
        assert deliveries.errors == [None]

    def verdict(self, request: str, code: int) -> type[ClientError] | None:
        """The error that a transaction meets, of which one request is answered with this code."""
        producer = self.producer(unique("identity"))
        try:
            if request != "InitProducerId":
                producer.take_over(DEADLINE)
            self.cluster.answer(request, [code])
            if request == "InitProducerId":
                producer.take_over(DEADLINE)
            self.transact(producer)
        except ClientError as error:
            return type(error)
        else:
            return None
        finally:
            self.cluster.forget_answers(request)
            producer.close(DEADLINE)
            self.member.poll()

    def goes_on_after(self, request: str, code: int) -> bool:
        """Whether the next producer commits, one that aborts first what can be aborted."""
        identity = unique("identity")
        producer = self.producer(identity)
        try:
            producer.take_over(DEADLINE)
            self.cluster.answer(request, [code])
            self.transact(producer)
        except TransactionFailed:
            producer.abort(DEADLINE)
        except (ClientFatal, Fenced):
            pass
        finally:
            self.cluster.forget_answers(request)
            producer.close(DEADLINE)
        heir = self.producer(identity)
        try:
            heir.take_over(DEADLINE)
            self.transact(heir)
        except ClientError:
            return False
        finally:
            heir.close(DEADLINE)
            self.member.poll()
        return True


@pytest.fixture(scope="module")
def mocked() -> Iterator[Mocked]:
    with MockCluster(BROKERS) as cluster:
        made = Mocked(cluster)
        yield made
        made.member.consumer.close()


def test_every_request_of_a_transaction_has_its_answers() -> None:
    assert VERDICTS.keys() == REQUESTS.keys()


@pytest.mark.parametrize(("request_", "name", "expected"), CASES)
def test_an_answer_passes_fails_the_transaction_or_ends_its_producer(
    mocked: Mocked, request_: str, name: str, expected: Verdict
) -> None:
    assert mocked.verdict(request_, getattr(KafkaError, name)) == expected


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("request_", [one for one in REQUESTS if one != "InitProducerId"])
def test_whatever_is_answered_the_next_transaction_is_committed(
    mocked: Mocked, request_: str
) -> None:
    assert [code for code in CODES if not mocked.goes_on_after(request_, code)] == []


def test_transactions_are_committed_while_their_coordinators_move(mocked: Mocked) -> None:
    identity = unique("identity")
    producer = mocked.producer(identity)
    producer.take_over(DEADLINE)

    for number in range(2 * BROKERS):
        mocked.cluster.move_coordinator("transaction", identity, number % BROKERS + 1)
        mocked.cluster.move_coordinator("group", mocked.group, (number + 1) % BROKERS + 1)
        try:
            mocked.transact(producer)
        except ClientFatal:  # an answer to the last one was late
            producer.close(DEADLINE)
            producer = mocked.producer(identity)
            producer.take_over(DEADLINE)
            mocked.transact(producer)

    producer.close(DEADLINE)


def test_offsets_are_committed_while_their_coordinator_moves(mocked: Mocked) -> None:
    consumer = mocked.member.consumer
    committed = []

    for number in range(1, 2 * BROKERS):
        mocked.cluster.move_coordinator("group", mocked.group, number % BROKERS + 1)
        consumer.commit({SOURCE: Commit(number)}, wait=True)
        committed.append(consumer.committed([SOURCE]))
        mocked.member.poll()

    assert committed == [{SOURCE: Commit(number)} for number in range(1, 2 * BROKERS)]
    assert [what for what, _ in mocked.member.events] == ["assigned"]
