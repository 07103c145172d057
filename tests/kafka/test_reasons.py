"""When no broker answers, the reason is told."""

from __future__ import annotations

import pytest

from worker.errors import BrokersUnreachable, ConnectionFailed
from worker.kafka.admin import KafkaAdmin
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import Topics
from worker.settings import KafkaSettings, NetworkSettings

PATIENCE = 1.0


def settings(address: str) -> KafkaSettings:
    return KafkaSettings(
        brokers=address.split(","), network=NetworkSettings(request_timeout=PATIENCE)
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:1", "Connection refused"), ("nowhere.invalid:1", "Failed to resolve")],
)
def test_an_operator_reads_why_no_broker_answers(address: str, reason: str) -> None:
    admin = KafkaAdmin(settings(address), PATIENCE)

    with pytest.raises(BrokersUnreachable, match=reason):
        admin.describe(["topic"])
    with pytest.raises(BrokersUnreachable, match=reason):
        admin.create({})


def test_a_broker_that_goes_away_later_is_told_with_its_reason_too() -> None:
    with EmbeddedBroker() as broker:
        address = broker.address
        topics = Topics(settings(address), {}, lambda _: None, lambda: None)
        topics.ping(10.0)

    with pytest.raises(ConnectionFailed, match=r"Connection refused|Disconnected"):
        topics.partitions("topic")
