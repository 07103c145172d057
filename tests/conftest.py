"""One real broker for a whole run, shared by all its processes, and a browser for each."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from subprocess import SubprocessError

import pytest
from hypothesis import settings

from tests.chromium import Browser, running_chromium
from tests.secure import SecureKafka, running_secure_kafka
from worker.testing import KafkaBroker
from worker.testing.sharing import go_without, one_for_all

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell lets what it runs in the background ignore it, tests and what they start as well."""
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""Likewise `nohup`."""

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""Machines are shared: how long an example takes says nothing."""


@pytest.fixture
def own_log() -> Iterator[None]:
    """The log of the process, and what Python calls by itself, afterwards as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Garbage in circles stays: what is gone has been let go of."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def kafka_address(kafka_broker: KafkaBroker) -> str:
    """Bootstrap address of a real Apache Kafka: that of KAFKA_BROKERS, else one of our own."""
    return kafka_broker.address


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
