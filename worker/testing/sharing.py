"""What takes long to start, once for all processes of a run of tests."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from worker.errors import BrokerUnavailable
from worker.testing.plugin import MISSING

Started = TypeVar("Started")

Start = Callable[[], AbstractContextManager[str]]
"""Starts a broker, or makes something else that takes long, and yields where it is."""


def go_without(missing: str) -> NoReturn:
    """Skip the test, and fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def one_for_all(
    config: pytest.Config, factory: pytest.TempPathFactory, name: str, start: Start
) -> str:
    """What `start` yields, started once for all processes of the run, until all tests are over.

    Not until a fixture is torn down: the time of a test does not run while others are waited for.
    """
    stack = ExitStack()
    config.add_cleanup(stack.close)
    if "PYTEST_XDIST_WORKER" in os.environ:
        return stack.enter_context(_shared(factory.getbasetemp().parent / name, start))
    return stack.enter_context(real(start))


@contextmanager
def real(start: Callable[[], AbstractContextManager[Started]]) -> Iterator[Started]:
    """A Kafka for this process; without one tests skip, and fail where CI=true."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(start())
        except BrokerUnavailable as error:
            go_without(f"{MISSING}: {error}")
        yield found


@contextmanager
def _shared(path: Path, start: Start) -> Iterator[str]:
    """What all processes of the run share: the first starts it and ends it when none needs it."""
    told, starting = path.with_suffix(".told"), path.with_suffix(".start")
    with ExitStack() as stack, path.with_suffix(".users").open("w") as users:
        with _locked(starting):
            starts = not told.exists()
            if starts:
                told.write_text(stack.enter_context(real(start)))
            fcntl.flock(users, fcntl.LOCK_SH)
            found = told.read_text()
        yield found
        if starts:
            with _locked(starting):
                told.unlink()
            fcntl.flock(users, fcntl.LOCK_EX)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that all processes of the run respect."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
