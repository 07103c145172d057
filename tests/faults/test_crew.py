"""What is known of workers by their processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.crew import Crew, Worker

WAITING = "import signal; signal.pause()"


def crew_of(folder: Path, code: str) -> Crew:
    process = subprocess.Popen([sys.executable, "-c", code])
    crew = Crew(folder / "spec", folder, {"a": 0})
    crew.workers.append(Worker("a.0", process, 0, folder / "log", 0.0))
    return crew


@pytest.mark.parametrize("end", [Crew.stop, Crew.kill])
def test_of_one_that_has_ended_by_itself_no_code_is_expected(
    tmp_path: Path, end: Callable[[Crew, str], Worker]
) -> None:
    crew = crew_of(tmp_path, "")
    crew.of("a").process.wait()

    assert end(crew, "a").expected is None


def test_of_one_that_is_killed_the_signal_is_expected(tmp_path: Path) -> None:
    crew = crew_of(tmp_path, WAITING)

    assert crew.kill("a").expected == -signal.SIGKILL


def test_one_that_is_paused_stands_still_until_it_is_resumed(tmp_path: Path) -> None:
    crew = crew_of(tmp_path, WAITING)
    assert not crew.of("a").stands_still

    paused = crew.pause("a")
    os.waitpid(paused.process.pid, os.WUNTRACED)
    assert paused.stands_still

    crew.resume("a")
    os.waitpid(paused.process.pid, os.WCONTINUED)
    assert not paused.stands_still
    crew.kill("a")
