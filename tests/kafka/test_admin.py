"""Brokers that learn of a topic one after the other, or that fall silent."""

from __future__ import annotations

import sys
from contextlib import suppress
from subprocess import PIPE, Popen
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.contract.member import until
from tests.contract.rig import Layout, unique
from worker.errors import BrokersUnreachable
from worker.kafka.admin import KafkaAdmin
from worker.kafka.broker import KafkaCluster
from worker.settings import KafkaSettings
from worker.types import TopicPartition

pytestmark = pytest.mark.kafka


class Behind:
    """A client whose questions come to brokers that do not know of a topic yet, so many times."""

    def __init__(self, client: AdminClient, topic: str, times: int) -> None:
        self._client, self._topic, self._times = client, topic, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list_topics(self, *args: Any, **named: Any) -> Any:
        known = self._client.list_topics(*args, **named)
        if self._topic in known.topics and self._times:
            self._times -= 1
            del known.topics[self._topic]
        return known


@pytest.mark.parametrize("maker", ["itself", "another"])
def test_a_topic_that_was_made_is_described_though_a_broker_does_not_know_it_yet(
    kafka_address: str, maker: str
) -> None:
    settings, topic = KafkaSettings(brokers=[kafka_address]), unique("topic")
    admin = KafkaAdmin(settings)
    (admin if maker == "itself" else KafkaAdmin(settings)).create({topic: Layout(3)})
    admin.create({topic: Layout(3)})

    admin.asking.client = Behind(admin.asking.client, topic, 2)  # type: ignore[assignment]

    assert admin.describe([topic])[topic].partitions == 3


def test_a_topic_that_is_gone_is_not_waited_for_twice(kafka_address: str) -> None:
    settings, topic = KafkaSettings(brokers=[kafka_address]), unique("topic")
    admin = KafkaAdmin(settings)
    admin.create({topic: Layout(3)})
    admin.describe([topic])

    admin.asking.client = Behind(admin.asking.client, topic, 1)  # type: ignore[assignment]

    assert list(admin.describe([topic])) == []
    assert list(admin.describe([topic])) == [topic]


def test_ends_are_not_known_while_a_broker_is_silent_and_are_known_when_it_is_back() -> None:
    """It takes the partitions again under a new epoch."""
    topic = unique("topic")
    places = [TopicPartition(topic, number) for number in range(2)]
    with KafkaCluster() as cluster:
        admin = KafkaAdmin(KafkaSettings(brokers=[cluster.address]), timeout=3.0)
        admin.create({topic: Layout(2)})
        known = dict.fromkeys(places, 0)

        def are_known() -> bool:
            with suppress(BrokersUnreachable):  # a broker that was taken for dead has to come back
                return admin.ends(places, "read_committed") == known
            return False

        assert are_known()

        cluster.pause_node(0)
        for _ in range(2):
            with pytest.raises(BrokersUnreachable):
                admin.ends(places, "read_committed")
        with pytest.raises(BrokersUnreachable):
            admin.uncommitted(unique("group"), [topic])
        cluster.resume_node(0)

        until(are_known)


ASKS = """\
import sys
from worker.errors import BrokersUnreachable
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings

admin = KafkaAdmin(KafkaSettings(brokers=[sys.argv[1]]), timeout=2.0)
while group := input():
    try:
        print(admin.group(group).members, flush=True)
    except BrokersUnreachable:
        print("silent", flush=True)
"""


def test_a_process_lives_on_whose_question_about_a_group_was_not_answered_in_time() -> None:
    """A client that finds the coordinator too late ends the process: librdkafka's issue 4605."""
    command = [sys.executable, "-c", ASKS]
    with (
        KafkaCluster() as cluster,
        Popen([*command, cluster.address], stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as asking,
    ):
        given, told = asking.stdin, asking.stdout
        assert given is not None
        assert told is not None

        def ask() -> str:
            given.write(f"{unique('group')}\n")
            return told.readline().strip()

        before = ask()
        cluster.pause_node(0)
        meanwhile = ask()
        cluster.resume_node(0)
        after = [ask() for _ in range(3)]
        asking.communicate("\n")

    assert (before, meanwhile, after) == ("0", "silent", ["0"] * 3)
    assert asking.returncode == 0
