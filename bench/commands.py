"""Commands that end by themselves: how long they take, and what they say."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from bench.rounds import Failed

LAST = 200
"""Characters that are told of a command that has failed."""


@dataclass(frozen=True)
class Ended:
    """A command that has gone well."""

    seconds: float
    cpu: float
    """Seconds of processor time, with those of its children."""
    output: str

    @property
    def figures(self) -> dict[str, float]:
        """Both times in milliseconds."""
        return {"ms": self.seconds * 1e3, "cpu": self.cpu * 1e3}


def timed(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Ended:
    """Run a command in a folder; raises `Failed` with its last words where it ends with an error.

    No other child of this process may end meanwhile, since it would be in the processor time.
    """
    before, begun = _processor_time(), time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begun
    if done.returncode != 0:
        raise Failed((done.stderr + done.stdout)[-LAST:])
    return Ended(seconds, _processor_time() - before, done.stdout)


def _processor_time() -> float:
    """Seconds that all child processes have taken which have ended."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
