"""How long to wait after failures, and when earlier ones are forgotten."""

from __future__ import annotations

from typing import Final

BACKOFF: Final = (0.5, 30.0)
"""Shortest and longest wait, in seconds."""
WELL_AFTER: Final = 60.0
"""Seconds of work after which the next failure counts as the first."""


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row, at least one."""
    shortest, longest = BACKOFF
    return min(longest, shortest * 2.0 ** min(failures - 1, 16))


def failures_in_a_row(before: int, lasted: float) -> int:
    """How many there are with one after so many seconds; after long work the count begins anew."""
    return 1 if lasted >= WELL_AFTER else before + 1
