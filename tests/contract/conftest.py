"""The two sides that the contract is held against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.member import Members
from tests.contract.rig import KafkaRig, MemoryRig, Rig


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "memory":
        return MemoryRig()
    kafka: KafkaRig = request.getfixturevalue("kafka_rig")
    return kafka


@pytest.fixture(scope="session")
def kafka_rig(kafka_address: str) -> KafkaRig:
    return KafkaRig(kafka_address)


@pytest.fixture
def members(rig: Rig) -> Iterator[Members]:
    made = Members(rig)
    yield made
    made.close()
