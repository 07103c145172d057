"""Memory of the process: what the C library and the garbage collector do too often by default."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_ARENA_MAX: Final = -8
"""Parameters of glibc's mallopt(3)."""

KEPT: Final = 2 * 1024**2
"""Bytes of free memory that each heap keeps at its end: a few runs' results. With 16 MiB nothing
was faster, and under faults heaps still grew towards that after half an hour
(`docs/performance.md`)."""
GROWTH: Final = 1024**2
"""Bytes by which the heap grows at least."""
ARENAS: Final = 4
"""Heaps that threads share. glibc has up to eight for each core, and each keeps holes of its own
where clients come and go; with two, threads wait for each other (`docs/performance.md`)."""
TIDY_EVERY: Final = 10.0
"""Seconds after which garbage is collected, which looks at everything that is in flight (9 ms for
100,000 objects), and memory goes back that is free between pieces in use."""
COLLECT_EVERY: Final = 50_000
"""Net allocations between two collections: more than the objects of all messages in flight."""


def collect_rarely() -> None:
    """Leave what exists already out of garbage collection, and collect the rest less often.

    Messages in flight are garbage by their reference counts as soon as they are done. With Python's
    threshold of 700 each run of messages brought several collections over all that are in flight:
    a sixth of the processor time (`docs/performance.md`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 100)


def keep_free_memory() -> None:
    """Keep freed memory in the process; without glibc nothing happens.

    By default glibc gives the end of its heap back as soon as 128 KiB are free there. A run's
    results are about as large, so that every run would fault the same pages in again: encoding a
    result of 300 bytes took 5.0 us instead of 1.1 us (`docs/performance.md`). Called before threads
    begin, since each has its heap for good.
    """
    with suppress(OSError, AttributeError):
        libc = _libc()
        libc.mallopt(_TRIM_THRESHOLD, KEPT)
        libc.mallopt(_TOP_PAD, GROWTH)
        libc.mallopt(_ARENA_MAX, ARENAS)


class Tidying:
    """Gives back what is garbage, and what is free between pieces of memory in use, in time.

    A partition that is read again leaves its messages in a circle with the runs that have them;
    each client that is replaced leaves holes in the heaps of its threads, of which glibc gives back
    no more than the ends. A worker that met a fault every 40 s grew by 480 MiB an hour so, though
    what it used did not (`docs/reliability.md`).
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._due = monotonic() + TIDY_EVERY

    def go_on(self) -> None:
        """Do what is due; to be called several times a second."""
        now = self._monotonic()
        if now < self._due:
            return
        self._due = now + TIDY_EVERY
        gc.collect()
        with suppress(OSError, AttributeError):
            _libc().malloc_trim(KEPT)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
