from __future__ import annotations

import pytest

from tests.system.rig import Kafka


@pytest.fixture
def kafka(kafka_address: str) -> Kafka:
    return Kafka(kafka_address)
