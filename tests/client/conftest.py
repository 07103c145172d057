"""A client and a topic of its own for each test, on a real Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.rig import unique
from worker import Kafka, TopicConfig


@pytest.fixture
def client(kafka_address: str) -> Iterator[Kafka]:
    with Kafka(kafka_address) as made:
        yield made


@pytest.fixture
def topic(client: Kafka) -> str:
    """A topic of three partitions."""
    name = unique("topic")
    client.create_topic(name, TopicConfig(3))
    return name
