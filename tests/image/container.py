"""Runs the files of an image as an engine would: in a read-only root, as process 1.

    python -m tests.image.container RUN [ARGUMENT...]

RUN is a `Run` as JSON. The network is that of the machine, and no shell is there.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

NEW_MOUNTS, NEW_PROCESSES = 0x00020000, 0x20000000
END_WITH_PARENT, NO_NEW_PRIVILEGES = 1, 38
SHELLS: Final = ("bash", "dash", "sh")


@dataclass(frozen=True)
class Run:
    """One container."""

    root: str
    command: Sequence[str]
    environ: Mapping[str, str]
    folder: str
    user: int
    group: int
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Files and folders of the machine by the places where they can be read."""

    @property
    def program(self) -> list[str]:
        """The command of the machine that runs it."""
        return [sys.executable, "-m", "tests.image.container", json.dumps(asdict(self))]


def main(run: Run, arguments: Sequence[str]) -> int:
    """Run to the end; SIGTERM is passed on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS | NEW_PROCESSES) != 0:
        raise OSError(ctypes.get_errno(), "a container needs name spaces of its own")
    child = os.fork()
    if child == 0:
        enter(run)
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.prctl(END_WITH_PARENT, signal.SIGKILL)
        os.execvpe(run.command[0], [*run.command, *arguments], run.environ)
    signal.signal(signal.SIGTERM, lambda number, _frame: os.kill(child, number))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def enter(run: Run) -> None:
    """Become the user of the image inside its files."""
    root = Path(run.root)
    for place in run.volumes:
        _inside(root, place).mkdir(parents=True, exist_ok=True)
    mount("--make-rprivate", "/")
    mount("--bind", run.root, run.root)
    mount("-o", "remount,bind,ro", run.root)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "tmp"))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--bind", "/dev", str(root / "dev"))
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "dev" / "shm"))
    for shell in SHELLS:
        if (file := root / "bin" / shell).exists():
            mount("--bind", "/dev/null", str(file))
    for place, source in run.volumes.items():
        mount("--bind", source, str(_inside(root, place)))
        mount("-o", "remount,bind,ro", str(_inside(root, place)))
    os.chroot(root)
    os.chdir(run.folder)
    os.setgroups([])
    os.setgid(run.group)
    os.setuid(run.user)


def _inside(root: Path, place: str) -> Path:
    return root / place.removeprefix("/")


def mount(*arguments: str) -> None:
    """As mount(8)."""
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main(Run(**json.loads(sys.argv[1])), sys.argv[2:]))
