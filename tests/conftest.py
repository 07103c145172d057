"""One real broker for a whole run, shared by all its processes, and a browser for each."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from subprocess import SubprocessError

import pytest
from hypothesis import settings

from tests.chromium import Browser, running_chromium
from tests.missing import go_without
from tests.secure import SecureKafka, running_secure_kafka
from worker.errors import BrokerUnavailable
from worker.kafka.broker import running_broker

Start = Callable[[], AbstractContextManager[str]]
"""Starts a broker, or makes something else that takes long, and yields where it is."""


settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""Machines are shared: how long an example takes says nothing."""


@pytest.fixture(scope="session")
def kafka_address(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bootstrap address of a real Apache Kafka: that of KAFKA_BROKERS, else one of our own."""
    return one_for_all(pytestconfig, tmp_path_factory, "kafka", running_broker)


@pytest.fixture(scope="session")
def secure_kafka(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> SecureKafka:
    """A real Apache Kafka of our own with SASL and TLS; it is shared, so leave it as it is."""
    start = partial(running_secure_kafka, tmp_path_factory.mktemp("secure"))
    return SecureKafka.parse(one_for_all(pytestconfig, tmp_path_factory, "secure", start))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium; without one tests skip, and fail where CI=true."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(running_chromium())
        except (OSError, SubprocessError) as error:
            go_without(f"no Chromium: {error}")
        yield browser


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured, such as how large the image is."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


def one_for_all(
    config: pytest.Config, factory: pytest.TempPathFactory, name: str, start: Start
) -> str:
    """What `start` yields, started once for all processes of the run, until all tests are over.

    Not until a fixture is torn down: the time of a test does not run while others are waited for.
    """
    stack = ExitStack()
    config.add_cleanup(stack.close)
    if "PYTEST_XDIST_WORKER" in os.environ:
        return stack.enter_context(shared(factory.getbasetemp().parent / name, start))
    return stack.enter_context(real(start))


@contextmanager
def real(start: Start) -> Iterator[str]:
    """A broker for this process; without one tests skip, and fail where CI=true."""

    with ExitStack() as stack:
        try:
            text = stack.enter_context(start())
        except BrokerUnavailable as error:
            go_without(f"no real Apache Kafka: {error}")
        yield text


@contextmanager
def shared(path: Path, start: Start) -> Iterator[str]:
    """What all processes of the run share: the first starts it and ends it when none needs it."""
    told, starting = path.with_suffix(".told"), path.with_suffix(".start")
    with ExitStack() as stack, path.with_suffix(".users").open("w") as users:
        with locked(starting):
            starts = not told.exists()
            if starts:
                told.write_text(stack.enter_context(real(start)))
            fcntl.flock(users, fcntl.LOCK_SH)
            found = told.read_text()
        yield found
        if starts:
            with locked(starting):
                told.unlink()
            fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that all processes of the run respect."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
