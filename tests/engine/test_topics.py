"""What is known of the topics that are produced to, and when it is asked for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from worker.engine.topics import LOOK_AGAIN_AFTER, KnownTopics
from worker.errors import BrokersUnreachable
from worker.testing import ManualClock
from worker.types import TopicInfo


class Cluster:
    """A cluster with one topic, which counts how often it is asked."""

    def __init__(self) -> None:
        self.partitions = 4
        self.asked = 0
        self.away = False

    def describe(self, topics: Sequence[str]) -> Mapping[str, TopicInfo]:
        self.asked += 1
        if self.away:
            raise BrokersUnreachable("away")
        return {topic: TopicInfo(self.partitions, 1000) for topic in topics}


def known(cluster: Cluster, clock: ManualClock) -> KnownTopics:
    topics = KnownTopics(cluster.describe, clock)
    topics.take({"target": TopicInfo(4, 1000)})
    return topics


def test_a_partition_that_is_known_asks_nobody() -> None:
    cluster = Cluster()
    topics = known(cluster, ManualClock())

    assert (topics.partitions("target", 3), topics.limits, cluster.asked) == (
        4,
        {"target": 1000},
        0,
    )


def test_a_partition_that_was_added_is_found_by_asking_again() -> None:
    cluster = Cluster()
    topics = known(cluster, ManualClock())
    cluster.partitions = 8

    assert topics.partitions("target", 7) == 8
    assert topics.partitions("target", 6) == 8
    assert cluster.asked == 1


def test_for_partitions_that_do_not_exist_the_cluster_is_asked_now_and_then_only() -> None:
    cluster, clock = Cluster(), ManualClock()
    topics = known(cluster, clock)

    assert [topics.partitions("target", 99) for _ in range(5)] == [4] * 5
    assert cluster.asked == 1

    clock.advance(LOOK_AGAIN_AFTER)
    topics.partitions("target", 99)
    assert cluster.asked == 2


def test_a_limit_that_cannot_be_read_is_told(caplog: pytest.LogCaptureFixture) -> None:
    topics = known(Cluster(), ManualClock())

    topics.take({"hidden": TopicInfo(4, 1000, unread="denied"), "target": TopicInfo(4, 1000)})

    assert caplog.messages == [
        "max.message.bytes of hidden is taken for Kafka's default, 1000, since it cannot be read: "
        "denied"
    ]


def test_where_nobody_answers_what_is_known_counts() -> None:
    cluster = Cluster()
    topics = known(cluster, ManualClock())
    cluster.away = True

    assert topics.partitions("target", 4) == 4
