"""Where a consumer of a real Kafka says that it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from tests.contract.conftest import GROUPS
from tests.contract.member import Members, until
from tests.contract.rig import KafkaRig, unique
from tests.contract.test_consumer import filled
from worker.kafka.consumer import KafkaConsumer

pytestmark = pytest.mark.kafka


@pytest.fixture
def rig(kafka_address: str) -> KafkaRig:
    return KafkaRig(kafka_address, GROUPS["sticky"])


@pytest.fixture
def members(rig: KafkaRig) -> Iterator[Members]:
    members = Members(rig)
    yield members
    members.close()


def test_after_a_seek_a_partition_is_read_on_behind_a_transaction_that_was_aborted(
    rig: KafkaRig, members: Members
) -> None:
    (source,) = filled(rig, 0)
    member = members.settled(unique("group"), source.topic)
    assert isinstance(member.consumer, KafkaConsumer)
    client, there = member.consumer.client, [ClientPartition(*source)]

    member.consumer.seek(source, 0)
    rig.append_aborted(source, b"aborted")
    until(lambda: client.position(there)[0].offset == 2, member)

    assert member.consumer.positions([source]) == {source: 2}
