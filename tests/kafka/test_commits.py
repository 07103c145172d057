"""Commits that are waited for, where the group has gone on (KIP-848)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from worker.errors import CommitFailed
from worker.kafka.consumer import KafkaConsumer
from worker.types import Commit, TopicPartition

SOURCE = TopicPartition("source", 0)


class Refusing:
    """A client whose next commits meet these errors."""

    def __init__(self, client: Consumer, *codes: int) -> None:
        self._client = client
        self.codes = deque(codes)
        self.committed: list[int] = []

    def commit(self, offsets: list[ClientPartition], asynchronous: bool) -> list[ClientPartition]:  # noqa: FBT001
        assert not asynchronous
        if self.codes:
            raise KafkaException(KafkaError(self.codes.popleft()))
        self.committed += [place.offset for place in offsets]
        return offsets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.fixture
def consumer() -> Iterator[KafkaConsumer]:
    made = KafkaConsumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    yield made
    made.close()


def test_one_that_meets_a_new_epoch_is_sent_again(consumer: KafkaConsumer) -> None:
    stale = KafkaError.STALE_MEMBER_EPOCH
    client = Refusing(consumer.client, stale, stale)
    consumer._client = client  # type: ignore[assignment]

    consumer.commit({SOURCE: Commit(7)}, wait=True)

    assert client.committed == [7]


def test_one_that_meets_anything_else_is_not(consumer: KafkaConsumer) -> None:
    client = Refusing(consumer.client, KafkaError.UNKNOWN_MEMBER_ID)
    consumer._client = client  # type: ignore[assignment]

    with pytest.raises(CommitFailed, match="UNKNOWN_MEMBER_ID"):
        consumer.commit({SOURCE: Commit(7)}, wait=True)

    assert client.committed == []
