"""The two sides that the contract is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.contract.member import Members
from tests.contract.rig import KafkaRig, MemoryRig, Rig
from worker.settings import GroupSettings

GROUPS: Mapping[str, GroupSettings] = {
    "sticky": GroupSettings(rebalance="sticky", session_timeout=6.0, heartbeat=0.3),
    "range": GroupSettings(rebalance="range", session_timeout=6.0, heartbeat=0.3),
    "roundrobin": GroupSettings(rebalance="roundrobin", session_timeout=6.0, heartbeat=0.3),
    "kip-848": GroupSettings(protocol="consumer"),
}
"""How groups can be led."""

LED: Final = ("sticky", "range", "kip-848")
"""Cooperatively, eagerly, by the broker."""


def rigs(*kinds: str) -> list[Any]:
    """The parameters of a fixture: each of these ways in memory, and on the real side."""
    memory = [pytest.param(("memory", kind), id=f"memory-{kind}") for kind in kinds]
    real = [pytest.param(("kafka", kind), id=kind, marks=pytest.mark.kafka) for kind in kinds]
    return memory + real


def rig_of(request: pytest.FixtureRequest) -> Rig:
    """The rig that a fixture's parameter names."""
    side, kind = request.param
    if side == "memory":
        return MemoryRig(GROUPS[kind])
    real: Mapping[str, KafkaRig] = request.getfixturevalue("kafka_rigs")
    return real[kind]


@pytest.fixture(params=rigs("sticky"))
def rig(request: pytest.FixtureRequest) -> Rig:
    return rig_of(request)


@pytest.fixture
def led(rig: Rig, request: pytest.FixtureRequest) -> GroupSettings:
    """How the groups of the rig are led."""
    del rig
    return GROUPS[request.node.callspec.params["rig"][1]]


@pytest.fixture(scope="session")
def kafka_rigs(kafka_address: str) -> Mapping[str, KafkaRig]:
    return {kind: KafkaRig(kafka_address, group) for kind, group in GROUPS.items()}


@pytest.fixture
def members(rig: Rig) -> Iterator[Members]:
    made = Members(rig)
    yield made
    made.close()
