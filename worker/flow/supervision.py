"""What becomes of a process that has ended, and with which code the whole ends.

The codes are those of the table in `cli/exit_codes.py`; a negative one names a signal.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from worker.flow.health import Snapshot

DRAINED: Final = 0
FAILED: Final = 1
FORCED: Final = 4
HOPELESS: Final = (78, 69, 3, 2)
"""Codes of what meets every process alike: bad configuration, no broker, fenced, usage."""

Next = Literal["restart", "leave", "end"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended that nobody had asked to."""

    code: int
    last: Snapshot | None
    """What it last told of itself."""

    @property
    def has_failed(self) -> bool:
        """Whether it ended because all its pipelines had stopped for good."""
        pipelines = () if self.last is None else self.last.pipelines
        stopped = all(pipeline.failed is not None for pipeline in pipelines)
        return self.code == FAILED and bool(pipelines) and stopped

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exit code {self.code}"
        known = {int(one): one.name for one in signal.Signals}
        return f"signal {known.get(-self.code, -self.code)}"


def decide(ending: Ending, *, is_up: bool) -> Next:
    """Whether the process is started again, left alone, or the whole ends with its code.

    What meets every process alike ends the whole, and so does any failure of the first start,
    before the worker `is_up`. A process whose pipelines have all stopped for good is left alone: a
    new one would take the same message that they have stopped at. All else passes by a restart.
    """
    if ending.code in HOPELESS:
        return "end"
    if ending.has_failed:
        return "leave"
    return "end" if ending.code == FAILED and not is_up else "restart"


def is_up(snapshot: Snapshot | None) -> bool:
    """Whether a process has got so far that its pipelines were started."""
    return snapshot is not None and bool(snapshot.pipelines)


def code_of(codes: Iterable[int]) -> int:
    """The exit code of the whole from those with which its processes ended for good."""
    found = set(codes)
    hopeless = [code for code in HOPELESS if code in found]
    if hopeless:
        return hopeless[0]
    if found - {DRAINED, FAILED}:
        return FORCED
    return FAILED if FAILED in found else DRAINED
