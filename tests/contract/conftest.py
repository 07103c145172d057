"""The two sides that the contract is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.contract.member import Members
from tests.contract.rig import KafkaRig, MemoryRig, Rig
from worker.settings import GroupSettings

GROUPS: Mapping[str, GroupSettings] = {
    "sticky": GroupSettings(rebalance="sticky", session_timeout=6.0, heartbeat=0.3),
    "range": GroupSettings(rebalance="range", session_timeout=6.0, heartbeat=0.3),
    "kip-848": GroupSettings(protocol="consumer"),
}
"""How groups are led on the real side: cooperatively, eagerly, by the broker."""


def rig_of(request: pytest.FixtureRequest) -> Rig:
    """The rig that a fixture's parameter names."""
    if request.param == "memory":
        return MemoryRig()
    rigs: Mapping[str, KafkaRig] = request.getfixturevalue("kafka_rigs")
    return rigs[request.param]


@pytest.fixture(params=["memory", pytest.param("sticky", marks=pytest.mark.kafka)])
def rig(request: pytest.FixtureRequest) -> Rig:
    return rig_of(request)


@pytest.fixture(scope="session")
def kafka_rigs(kafka_address: str) -> Mapping[str, KafkaRig]:
    return {kind: KafkaRig(kafka_address, group) for kind, group in GROUPS.items()}


@pytest.fixture
def members(rig: Rig) -> Iterator[Members]:
    made = Members(rig)
    yield made
    made.close()
