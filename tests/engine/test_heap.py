"""Memory that a worker needs no more goes back, also from between pieces that it does need."""

from __future__ import annotations

import subprocess
import sys

HOLES = """
import ctypes
import weakref

from worker.engine.heap import Tidying, collect_rarely, keep_free_memory

PIECE, NUMBER = 64 * 1024, 4_096


class Node:
    pass


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4_096


keep_free_memory()
collect_rarely()
node = Node()
node.itself, gone = node, weakref.ref(node)
del node

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
pieces = [libc.malloc(PIECE) for _ in range(NUMBER)]
for piece in pieces:
    ctypes.memset(piece, 1, PIECE)
for place, piece in enumerate(pieces):
    if place % 16 != 15:
        libc.free(piece)
before, times = resident(), iter([0.0, 0.0, 60.0])
Tidying(times.__next__).go_on()
print(gone() is None, before - resident() > PIECE * NUMBER // 2)
"""


def test_garbage_and_holes_between_what_is_in_use_go_back() -> None:
    found = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, timeout=60
    )

    assert found.stdout == "True True\n"
