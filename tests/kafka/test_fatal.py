"""A producer that can send no more says so, and nothing else ends by it."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer

from tests.contract.rig import Layout, unique
from tests.deliveries import Deliveries
from worker.errors import ClientFatal
from worker.kafka import config
from worker.kafka.admin import KafkaAdmin
from worker.kafka.producer import KafkaProducer
from worker.settings import KafkaSettings
from worker.types import Encoded

pytestmark = pytest.mark.kafka

DEADLINE = 30.0


def test_a_fatal_error_fails_what_was_sent_and_every_later_send_and_raises_nothing_in_a_poll(
    kafka_address: str,
) -> None:
    topic, identity = unique("topic"), {"transactional.id": unique("identity")}
    settings, deliveries = KafkaSettings(brokers=[kafka_address]), Deliveries()
    KafkaAdmin(settings).create({topic: Layout()})
    properties = config.producer(settings, {})
    producer = KafkaProducer(properties | identity)
    producer.client.init_transactions(DEADLINE)
    Producer({"bootstrap.servers": kafka_address, **identity}).init_transactions(DEADLINE)
    producer.client.begin_transaction()
    record = Encoded(topic, b"")

    producer.send([record], deliveries.stored, deliveries.failed)
    deadline = time.monotonic() + DEADLINE
    while producer.fatal is None or not deliveries.errors:
        assert time.monotonic() < deadline
        producer.poll(0.1)

    assert deliveries.errors[0] is not None
    with pytest.raises(ClientFatal):
        producer.send([record], deliveries.stored, deliveries.failed)
