"""Compressed batches are compressed on the log, by the codec that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.rig import DEADLINE, Inbox, unique
from tests.client.test_outages import cluster_address
from worker import Kafka, KafkaSettings, TopicConfig
from worker.kafka.broker import KafkaCluster
from worker.testing.sharing import real

pytestmark = pytest.mark.kafka

ATTRIBUTES = 22
"""Place in a batch of the byte whose lowest three bits name its codec (message format v2)."""
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
VALUE = b"The quick brown fox jumps over the lazy dog. " * 20
NUMBER = 500


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A broker whose log can be looked at."""
    cluster = KafkaCluster(folder=tmp_path_factory.mktemp("kafka"))
    with real(lambda: cluster_address(cluster)):
        yield cluster


def log_of(cluster: KafkaCluster, topic: str) -> Path:
    """The only segment of the topic's only partition."""
    (segment,) = (cluster.logs(0).parent / "data" / f"{topic}-0").glob("*.log")
    return segment


def written(cluster: KafkaCluster, codec: str, level: int | None = None) -> tuple[int, int]:
    """Bytes that many records take on the log, and the codec that their first batch names."""
    topic, inbox = unique(codec), Inbox()
    sending = {"compression": codec, "compression_level": level, "linger": "100ms"}
    settings = KafkaSettings.model_validate({"brokers": cluster.address, "producer": sending})
    with Kafka(settings) as client:
        client.create_topic(topic, TopicConfig(1))
        for _ in range(NUMBER):
            client.send_async(topic, VALUE)
        assert client.producer.flush(DEADLINE) == 0
        client.consume_partition(topic, 0, "oldest", inbox, background=True)
        assert {message.value for message in inbox.take(NUMBER)} == {VALUE}
    log = log_of(cluster, topic).read_bytes()
    return len(log), log[ATTRIBUTES] & 0b111


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_makes_the_log_smaller_and_is_named_in_it(
    cluster: KafkaCluster, codec: str
) -> None:
    size, named = written(cluster, codec)

    plain = NUMBER * len(VALUE)
    assert named == CODECS[codec]
    assert size > plain if codec == "none" else size < plain / 5


def test_a_higher_level_makes_the_log_smaller_still(cluster: KafkaCluster) -> None:
    (fast, _), (thorough, _) = written(cluster, "gzip", 1), written(cluster, "gzip", 9)

    assert thorough < fast
