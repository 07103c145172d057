"""Nothing leaves a callback of the client."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from confluent_kafka import Producer

from tests.contract.member import DEADLINE, Member
from tests.contract.rig import unique
from worker.kafka import config
from worker.kafka.callbacks import Kept
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.stats import Statistics
from worker.settings import KafkaSettings

MANY = 60_000


def fail(error: BaseException) -> None:
    raise error


def test_a_kept_exception_is_raised_once_and_not_by_the_callback() -> None:
    kept = Kept()

    kept.guard(fail)(ValueError("planted"))

    with pytest.raises(ValueError, match="planted"):
        kept.release()
    kept.release()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_not_even_a_base_exception_leaves_a_callback(error: BaseException) -> None:
    kept = Kept()

    kept.guard(fail)(error)

    with pytest.raises(type(error)):
        kept.release()


def test_the_first_exception_is_the_one_that_is_kept() -> None:
    kept = Kept()

    kept.guard(fail)(ValueError("first"))
    kept.guard(fail)(ValueError("second"))

    with pytest.raises(ValueError, match="first"):
        kept.release()


def test_no_message_is_lost_where_what_the_client_calls_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Statistics, "update", lambda _self, _text: fail(ValueError("planted")))
    with EmbeddedBroker() as broker:
        settings, topic = KafkaSettings(brokers=[broker.address]), unique("topic")
        producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
        for number in range(MANY):
            producer.produce(topic, b"%d" % number, partition=0)
        assert producer.flush(DEADLINE) == 0
        properties = config.member(settings, unique("group"), "read_committed")
        consumer = KafkaConsumer({**properties, "statistics.interval.ms": 1})
        member = Member("member", consumer, [])
        consumer.subscribe([topic], member)

        raised = 0
        deadline = time.monotonic() + DEADLINE
        while len(member.received) < MANY:
            assert time.monotonic() < deadline
            try:
                member.poll()
            except ValueError:
                raised += 1
        with suppress(ValueError):
            consumer.close()

    assert [message.value for message in member.received] == [b"%d" % n for n in range(MANY)]
    assert raised > 0
