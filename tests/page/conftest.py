from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from subprocess import SubprocessError

import pytest

from tests.chromium import Browser, running_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium; without one tests skip, and fail where CI=true."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(running_chromium())
        except (OSError, SubprocessError) as error:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"no Chromium: {error}")
        yield browser
