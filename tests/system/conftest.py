from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.guarded import Guarded, running_guarded_kafka
from tests.system.rig import Kafka
from worker.testing.sharing import real


@pytest.fixture
def kafka(kafka_address: str) -> Kafka:
    return Kafka(kafka_address)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with real(running_guarded_kafka) as addresses:
        yield Guarded(*addresses.split())
