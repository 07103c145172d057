"""A static member that is told that another one has its instance, which may be untrue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaException

from tests.contract.member import DEADLINE, Member, until
from tests.contract.rig import Layout, unique
from tests.relay import Relay
from tests.system.exactly import started
from tests.system.rig import free_port
from worker.errors import ClientFatal, Fenced
from worker.kafka import config, questions
from worker.kafka.admin import KafkaAdmin
from worker.kafka.broker import KafkaCluster
from worker.kafka.consumer import KafkaConsumer
from worker.settings import GroupSettings, KafkaSettings
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

INSTANCE = "one"
GROUP = GroupSettings(session_timeout=10.0, heartbeat=4.0)
"""A heartbeat whose answer is kept back keeps the session at the broker for 4 s longer than at the
client; the next one comes in the middle of these."""


def settled(address: str) -> tuple[Member, KafkaConsumer, config.Properties]:
    """A static member that has its one partition; with its topic's name for its group, too."""
    settings, topic = KafkaSettings(brokers=[address], group=GROUP), unique("topic")
    KafkaAdmin(settings).create({topic: Layout()})
    properties = config.member(settings, topic, "read_committed", INSTANCE)
    consumer = KafkaConsumer(properties)
    member = Member("member", consumer, [])
    consumer.subscribe([topic], member)
    until(lambda: member.owned, member)
    return member, consumer, properties


Join = Callable[[config.Properties], Consumer]


@pytest.fixture
def twin() -> Iterator[Join]:
    """Has another member join a group with the same instance."""
    made: list[Consumer] = []

    def join(properties: config.Properties) -> Consumer:
        made.append(Consumer(properties | {"log_level": 0}))
        made[-1].subscribe([properties["group.id"]])
        return made[-1]

    yield join
    for one in made:
        one.close()


def told_that_it_is_fenced(member: Member, consumer: KafkaConsumer, other: Consumer) -> None:
    """Poll until the client says so; the poll after that is the one that raises."""

    def told() -> bool:
        other.poll(0.1)
        return "fenced" in str(consumer.last_error)

    until(told, member)


def test_a_member_whose_instance_another_one_has_is_fenced(kafka_address: str, twin: Join) -> None:
    member, consumer, properties = settled(kafka_address)

    told_that_it_is_fenced(member, consumer, twin(properties))

    with pytest.raises(Fenced):
        member.poll()


def test_a_member_whose_instance_another_one_had_can_be_followed_by_a_new_client(
    kafka_address: str, twin: Join
) -> None:
    member, consumer, properties = settled(kafka_address)
    other = twin(properties)

    def has_left() -> bool:
        other.poll(0.1)
        return questions.holder(properties, logging.getLogger("tests"), 5.0) is None

    told_that_it_is_fenced(member, consumer, other)
    other.unsubscribe()
    wait_until(has_left)

    with pytest.raises(ClientFatal, match="whose instance no other has"):
        member.poll()


def test_a_member_fenced_by_its_own_heartbeat_without_an_id_can_be_followed_by_a_new_client() -> (
    None
):
    port = free_port()
    with Relay(port) as relay:
        told = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{relay.port}"}
        cluster = KafkaCluster(ports=[port], properties=told)
        with real(lambda: started(cluster)) as address:
            member, consumer, _ = settled(address)

            with relay.answers_kept_back():
                wait_until(lambda: not consumer.client.memberid())
            wait_until(lambda: is_fatal(consumer))

            with pytest.raises(ClientFatal, match="whose instance no other has"):
                until(lambda: False, member)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait without a poll, which would give the partitions back."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def is_fatal(consumer: KafkaConsumer) -> bool:
    """Whether the client has a fatal error: only then it takes an assignment in the other way."""
    with suppress(KafkaException):
        consumer.client.assign([])
        return True
    return False
