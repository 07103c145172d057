"""A process in which Python stands still ends, and tells what it was at; any other goes on."""

from __future__ import annotations

import subprocess
import sys

FREEZE = "import ctypes; ctypes.PyDLL(None).sleep({seconds})  # keeps the global lock"


def ended(program: str) -> subprocess.CompletedProcess[str]:
    text = f"from worker.engine.watchdog import ended_when_frozen\n{program}"
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_process_that_stands_still_ends_and_tells_what_each_thread_was_at() -> None:
    program = f"""
def ask_the_client():
    {FREEZE.format(seconds=600)}

with ended_when_frozen(1.0):
    ask_the_client()
"""

    found = ended(program)

    assert found.returncode == 1
    assert "in ask_the_client" in found.stderr


def test_one_that_goes_on_is_watched_for_as_long_as_it_does_and_not_ended() -> None:
    program = """
import faulthandler
from threading import Semaphore

wound, wind = Semaphore(0), faulthandler.dump_traceback_later

def counted(*arguments, **options):
    wind(*arguments, **options)
    wound.release()

faulthandler.dump_traceback_later = counted
with ended_when_frozen(6.0):
    for _ in range(14):
        wound.acquire()
"""

    found = ended(program)

    assert (found.returncode, found.stderr) == (0, "")


def test_one_that_is_debugged_may_stand_still() -> None:
    program = f"""
import sys

sys.settrace(lambda *_: None)
with ended_when_frozen(0.5):
    {FREEZE.format(seconds=2)}
"""

    assert ended(program).returncode == 0


def test_nothing_watches_a_worker_that_has_ended() -> None:
    program = f"""
with ended_when_frozen(0.5):
    pass
{FREEZE.format(seconds=2)}
"""

    found = ended(program)

    assert (found.returncode, found.stderr) == (0, "")
