"""A system under measurement as a process, and what it and its children use, by Linux's /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.rounds import Failed, say

PROC = Path("/proc")
ROOT = Path(__file__).parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
GRACE = 30
"""Seconds to end in good order; then by force."""
ENDED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit codes of those who end on SIGTERM: in good order, by its default, a JVM."""


@dataclass(frozen=True)
class Usage:
    """Used up to now: seconds of processor time, and MiB of memory at the peak."""

    cpu: float
    rss: float


class Process:
    """A running system. It leads a process group, by which its children are found."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            process_group=0,
        )

    def alive(self) -> bool:
        return self._process.poll() is None

    def usage(self) -> Usage:
        """Add up the whole group; peaks of children are added as if they came at the same time."""
        members = list(_group(self._process.pid))
        return Usage(sum(_cpu(stat) for _, stat in members), sum(_peak(p) for p, _ in members))

    def stop(self) -> None:
        """End it; one that takes too long is killed, one that ends with an error has failed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            say(f"killed, since it ran on for {GRACE} s after SIGTERM")
            return
        if code not in ENDED:
            raise Failed(f"ended with exit code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that it wrote."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()


def _group(leader: int) -> Iterator[tuple[Path, list[str]]]:
    """The processes of a group, with the fields of their `stat` behind the name."""
    for process in PROC.glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader:
            yield process, fields


def _cpu(fields: list[str]) -> float:
    """User and system time of all threads, and of children that have ended."""
    return sum(map(int, fields[11:15])) / TICKS


def _peak(process: Path) -> float:
    """`VmHWM`: unlike `ru_maxrss` it leaves out what the parent took before the exec."""
    try:
        status = (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0
