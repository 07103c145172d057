"""The pytest plugin: pipelines in memory, Kafka in memory, a real one, and three nodes of it.

Every run of pytest imports this module, whether it uses a fixture or not: so it imports nothing
that takes long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

if TYPE_CHECKING:
    from worker.kafka.broker import KafkaCluster
    from worker.testing.driver import Driver
    from worker.testing.memory.broker import MemoryBroker
    from worker.testing.real import KafkaBroker

NODES: Final = 3
MISSING: Final = "no real Apache Kafka"
"""How the reason begins for which tests are skipped where none can be had."""


class Drive(Protocol):
    """What the fixture `pipeline` is."""

    def __call__(
        self, spec: Path | str, *, resources: Mapping[str, Any] = MappingProxyType({})
    ) -> Driver:
        """Make a driver of a spec; see `worker.testing.Driver.of`.

        A path is relative to the working directory, or else to pytest's `rootdir`.
        """


@pytest.fixture
def pipeline(pytestconfig: pytest.Config) -> Iterator[Drive]:
    """The pipelines of a spec on Kafka in memory, in virtual time: real engine, real handlers.

    `pipeline("config/flights.yaml").send("flights", {...}).run()`; then `topic("delays")`,
    `dead_letters` and `committed` say what has come of it. It ends with its test.
    """
    from worker.testing import Driver  # noqa: PLC0415 - only where it is used

    with ExitStack() as stack:

        def drive(
            spec: Path | str, *, resources: Mapping[str, Any] = MappingProxyType({})
        ) -> Driver:
            file = Path(spec) if Path(spec).exists() else pytestconfig.rootpath / spec
            path = [str(pytestconfig.rootpath)]
            return stack.enter_context(Driver.of(file, resources=resources, path=path))

        yield drive


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
    tests skip, and fail where CI=true. They fail where that of KAFKA_BROKERS does not answer.
    """
    from worker.errors import BrokersUnreachable  # noqa: PLC0415 - only where it is used
    from worker.kafka.broker import running_broker  # noqa: PLC0415
    from worker.testing import KafkaBroker  # noqa: PLC0415
    from worker.testing.sharing import one_for_all  # noqa: PLC0415

    address = one_for_all(pytestconfig, tmp_path_factory, "kafka", running_broker)
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(KafkaBroker(address))
        except BrokersUnreachable as error:
            pytest.fail(f"KAFKA_BROKERS: {error}", pytrace=False)
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
