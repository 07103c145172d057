"""Brokers say which requests they take; too old ones are told apart."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from tests.old import relayed
from worker.errors import ClientError
from worker.kafka import versions
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.versions import (
    SAYS_WHOSE,
    TXN_OFFSET_COMMIT,
    newest_versions,
    require_fencing,
)
from worker.settings import KafkaSettings

PATIENCE = 10.0


def settings(address: str) -> KafkaSettings:
    return KafkaSettings.model_validate({"brokers": address})


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.address


@pytest.mark.kafka
def test_a_broker_of_today_says_that_it_fences(kafka_address: str) -> None:
    assert newest_versions(settings(kafka_address), PATIENCE)[TXN_OFFSET_COMMIT] >= SAYS_WHOSE
    require_fencing(settings(kafka_address), PATIENCE)


@pytest.mark.kafka
def test_a_broker_that_would_not_fence_is_named_too_old(kafka_address: str) -> None:
    with relayed(kafka_address, 2) as old:
        assert newest_versions(settings(old), PATIENCE)[TXN_OFFSET_COMMIT] == 2
        with pytest.raises(ClientError, match="older than Kafka 2") as raised:
            require_fencing(settings(old), PATIENCE)

    assert not raised.value.retriable


def test_the_embedded_broker_passes(embedded: str, caplog: pytest.LogCaptureFixture) -> None:
    require_fencing(settings(embedded), PATIENCE)

    assert not caplog.records


def test_a_client_that_says_it_otherwise_is_warned_of(
    embedded: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_LINE", re.compile("of another release"))

    require_fencing(settings(embedded), PATIENCE)

    assert [one.levelno for one in caplog.records] == [logging.WARNING]


def test_no_answer_passes_by_itself() -> None:
    with pytest.raises(ClientError) as raised:
        require_fencing(settings("127.0.0.1:1"), 1.0)

    assert raised.value.retriable
