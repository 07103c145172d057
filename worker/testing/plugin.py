"""The pytest plugin: Kafka in memory, a real one, and three nodes of it, as fixtures.

Every run of pytest imports this module, whether it uses a fixture or not: so it imports nothing
that takes long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from worker.kafka.broker import KafkaCluster
    from worker.testing.memory import MemoryBroker
    from worker.testing.real import KafkaBroker

NODES: Final = 3
MISSING: Final = "no real Apache Kafka"
"""How the reason begins for which tests are skipped where none can be had."""


@pytest.fixture
def memory_broker() -> MemoryBroker:
    """Kafka in memory whose clock stands still: nothing waits, `clock.advance` lets time pass."""
    from worker.testing import ManualClock, MemoryBroker  # noqa: PLC0415 - only where it is used

    return MemoryBroker(ManualClock())


@pytest.fixture(scope="session")
def kafka_broker(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaBroker]:
    """A real Apache Kafka, one for the whole run: that of KAFKA_BROKERS, or else one of its own.

    Tests share it, so each takes topics of its own: `kafka_broker.topic()`. Where none can be had
    tests skip, and fail where CI=true.
    """
    from worker.kafka.broker import running_broker  # noqa: PLC0415 - only where it is used
    from worker.testing import KafkaBroker  # noqa: PLC0415
    from worker.testing.sharing import one_for_all  # noqa: PLC0415

    address = one_for_all(pytestconfig, tmp_path_factory, "kafka", running_broker)
    with KafkaBroker(address) as broker:
        yield broker


@pytest.fixture
def kafka_cluster() -> Iterator[KafkaCluster]:
    """A real Apache Kafka of three nodes for one test, which may stop, kill and freeze them.

    Where none can be had the test skips, and fails where CI=true.
    """
    from worker.testing import KafkaCluster  # noqa: PLC0415 - only where it is used
    from worker.testing.sharing import real  # noqa: PLC0415

    with real(lambda: KafkaCluster(NODES)) as cluster:
        yield cluster


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud which tests had no real Kafka: pytest itself shows no reason unless it is asked."""
    reasons = Counter(map(_reason, terminalreporter.getreports("skipped")))
    for reason, number in reasons.items():
        if reason.startswith(MISSING):
            terminalreporter.write_line(f"tests skipped: {number}; {reason}", yellow=True)


def _reason(report: pytest.TestReport) -> str:
    """Why a test was skipped."""
    told = report.longrepr
    return told[2].removeprefix("Skipped: ") if isinstance(told, tuple) else ""
