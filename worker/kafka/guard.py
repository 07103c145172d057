"""A process group that does not outlive this process, however this one ends.

It is led by a guard: a small Python process that waits at the end of a pipe from this process and
kills the group when the pipe closes. PR_SET_PDEATHSIG would do that on Linux only, would need
code between fork and exec, and fires when the *thread* that started the child ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

_GUARD: Final = """
import os, select, shutil, signal, sys

parent, folder = int(sys.argv[1]), sys.argv[2]
while os.getppid() == parent and not select.select([0], [], [], 1)[0]:
    pass  # a forked child of the parent may hold the pipe open: so look at the parent, too
group = os.getpgrp()
if os.fork() == 0:
    os.setsid()
    try:
        os.killpg(group, signal.SIGKILL)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
"""


class ProcessGroup:
    """A new process group with nothing in it yet but the guard.

    The guard also removes the folder `temporary` when this process has ended without `end`.
    """

    def __init__(self, temporary: Path | None) -> None:
        command = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(temporary or "")]
        self._guard = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0
        )

    @property
    def number(self) -> int:
        """Name the group as `subprocess.Popen(process_group=...)` takes it."""
        return self._guard.pid

    def end(self) -> None:
        """Kill whatever is in the group, with the guard."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
