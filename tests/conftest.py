"""One real broker for a whole run, shared by all its processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from worker.errors import BrokerUnavailable
from worker.kafka.broker import running_broker


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a real Apache Kafka: that of KAFKA_BROKERS, else one of our own."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with shared_broker(tmp_path_factory.getbasetemp().parent) as address:
            yield address
    else:
        with own_broker() as address:
            yield address


@contextmanager
def own_broker() -> Iterator[str]:
    """A broker for this process; without one tests skip, and fail where CI=true."""

    with ExitStack() as stack:
        try:
            address = stack.enter_context(running_broker())
        except BrokerUnavailable as error:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"no real Apache Kafka: {error}")
        yield address


@contextmanager
def shared_broker(folder: Path) -> Iterator[str]:
    """A broker for all processes of the run: the first starts it and ends it when none needs it."""
    address = folder / "kafka.address"
    with ExitStack() as stack, (folder / "kafka.users").open("w") as users:
        with locked(folder / "kafka.start"):
            starts = not address.exists()
            if starts:
                address.write_text(stack.enter_context(own_broker()))
            fcntl.flock(users, fcntl.LOCK_SH)
            found = address.read_text()
        yield found
        if starts:
            with locked(folder / "kafka.start"):
                address.unlink()
            fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that all processes of the run respect."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
