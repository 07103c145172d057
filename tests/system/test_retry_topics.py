"""Topics for retries on a real Kafka: how they are made, and what stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin._acl import AclOperation  # not re-exported for type checkers
from confluent_kafka.admin._resource import ResourceType

from tests.system.guarded import USE, Guarded
from tests.system.rig import Kafka, Spec, numbered
from worker.kafka.admin import KafkaAdmin
from worker.settings import KafkaSettings

pytestmark = pytest.mark.kafka

TWO_TIERS = {"ordering": "key", "retry": {"topics": ["1m", "10m"]}}
ONE_TIER = {"ordering": "key", "retry": {"topics": ["1m"]}}


def test_retry_topics_are_made_for_their_waits_and_a_fence_that_is_compacted(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", TWO_TIERS)
    spec.create_topics()

    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log

    admin = KafkaAdmin(KafkaSettings(brokers=[kafka.address]))
    first, second, fence = (f"{spec.group}.{one}" for one in ("retry.0", "retry.1", "fence"))
    found = admin.describe([first, second, fence])
    assert [found[topic].partitions for topic in (first, second, fence)] == [4, 4, 1]
    assert (
        found[first].max_message_bytes
        == admin.describe([spec.source])[spec.source].max_message_bytes + 65_536
    )
    assert admin.setting(first, "retention.ms") == "604860000"
    assert admin.setting(second, "retention.ms") == "605400000"
    assert admin.setting(fence, "cleanup.policy") == "compact"
    assert admin.setting(fence, "segment.ms") == "3600000"
    assert admin.setting(fence, "min.cleanable.dirty.ratio") == "0.01"


def test_a_retry_topic_with_too_few_partitions_stops_the_start_until_it_has_more(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", ONE_TIER)
    spec.create_topics()
    topic = f"{spec.group}.retry.0"
    kafka.create(topic, partitions=2)

    with spec.worker() as worker:
        assert worker.ended() == 78
        assert "pipelines.pipeline.retry.topics: " in worker.log
        assert f"{topic!r} has 2 partitions and {spec.source!r} 4" in worker.log
    kafka.grow(topic, 4)
    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


def test_a_tier_that_is_gone_stops_the_start_until_its_messages_are_handled(
    kafka: Kafka, tmp_path: Path
) -> None:
    spec = Spec(kafka, tmp_path, "echo", TWO_TIERS)
    spec.create_topics()
    topic = f"{spec.group}.retry.1"
    kafka.create(topic)
    kafka.produce(topic, numbered(5))

    spec.settings = ONE_TIER
    with spec.worker() as worker:
        assert worker.ended() == 78
        assert f"{topic!r} is that of a tier that is no longer configured" in worker.log
        assert "(5 at most)" in worker.log
    spec.settings = TWO_TIERS
    with spec.worker() as worker:
        worker.until(lambda: sum(max(0, o) for o in kafka.committed(spec.group, topic)) == 5)
        assert worker.stop() == 0, worker.log
    spec.settings = ONE_TIER
    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


@pytest.mark.parametrize("made_by", ["the worker", "somebody else"])
def test_a_worker_that_may_not_make_its_retry_topics_says_what_to_do_and_then_starts(
    guarded: Guarded, tmp_path: Path, made_by: str
) -> None:
    top = {"kafka": guarded.settings}
    spec = Spec(guarded.kafka, tmp_path, "echo", TWO_TIERS, top=top)
    spec.create_topics()
    topics = [f"{spec.group}.{one}" for one in ("retry.0", "retry.1", "fence")]
    for topic in (spec.source, spec.target):
        guarded.grant(topic, ResourceType.TOPIC, USE)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])

    with spec.worker() as worker:
        assert worker.ended() == 78
        for topic in topics:
            assert f"{topic!r} is not there, or not shown to this user" in worker.log
        assert "TOPIC_AUTHORIZATION_FAILED" in worker.log
        assert (
            "grant Create, Describe, Read and Write on it, or make it with partitions=4"
            in worker.log
        )
    guarded.grant(spec.group, ResourceType.TOPIC, USE)
    if made_by == "the worker":
        guarded.grant(spec.group, ResourceType.TOPIC, [AclOperation.CREATE])
    else:
        guarded.kafka.create(*topics)
    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log


def test_topics_that_may_not_be_written_or_read_are_named_before_anything_is_read(
    guarded: Guarded, tmp_path: Path
) -> None:
    settings = {**ONE_TIER, "dead_letter": {"default": "letters", "by": {"KeyError": "others"}}}
    spec = Spec(guarded.kafka, tmp_path, "echo", settings, top={"kafka": guarded.settings})
    spec.create_topics()
    tier, fence = f"{spec.group}.retry.0", f"{spec.group}.fence"
    guarded.kafka.create("letters", "others", tier, fence)
    guarded.grant(spec.group, ResourceType.GROUP, [AclOperation.READ])
    for topic in (spec.source, spec.target, "letters", "others"):
        guarded.grant(topic, ResourceType.TOPIC, [AclOperation.READ])

    with spec.worker() as worker:
        assert worker.ended() == 78
        assert f"pipelines.pipeline.to: topic {spec.target!r} may not be written" in worker.log
        assert "pipelines.pipeline.dead_letter: topic 'letters' may not be written" in worker.log
        assert "dead_letter.by.KeyError: topic 'others' may not be written" in worker.log
        assert "grant Write on it" in worker.log
    for topic in (spec.target, "letters", "others", fence):
        guarded.grant(topic, ResourceType.TOPIC, [AclOperation.WRITE])
    guarded.grant(tier, ResourceType.TOPIC, [AclOperation.WRITE])
    with spec.worker() as worker:
        assert worker.ended() == 78
        assert f"retry.topics: topic {tier!r} may not be read by this user" in worker.log
        assert f"retry.topics: topic {fence!r} may not be read by this user" in worker.log
    for topic in (tier, fence):
        guarded.grant(topic, ResourceType.TOPIC, [AclOperation.READ])
    with spec.worker() as worker:
        worker.until(worker.is_ready)
        assert worker.stop() == 0, worker.log
