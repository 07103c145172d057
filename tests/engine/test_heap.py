"""Memory that a worker needs no more goes back, also from between pieces that it does need."""

from __future__ import annotations

import subprocess
import sys

PIECES = """
import ctypes
import threading
import weakref

from worker.engine.heap import Tidying, collect_rarely, keep_free_memory

PIECE = 64 * 1024
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4_096


def use(pieces):
    for place in range(len(pieces)):
        pieces[place] = libc.malloc(PIECE)
        ctypes.memset(pieces[place], 1, PIECE)


keep_free_memory()
"""

HOLES = f"""{PIECES}
class Node:
    pass


collect_rarely()
node = Node()
node.itself, gone = node, weakref.ref(node)
del node

NUMBER = 4_096
pieces = [0] * NUMBER
use(pieces)
for place, piece in enumerate(pieces):
    if place % 16 != 15:
        libc.free(piece)
before, times = resident(), iter([0.0, 60.0])
Tidying(times.__next__).go_on()
print(gone() is None, before - resident() > PIECE * NUMBER // 2)
"""


ENDS = f"""{PIECES}
def use_and_free():
    use(pieces)
    for piece in pieces:
        libc.free(piece)


pieces = [0] * 200
before = resident()
thread = threading.Thread(target=use_and_free)
thread.start()
thread.join()
print(resident() - before < PIECE * 200 // 2)
"""


def test_garbage_and_holes_between_what_is_in_use_go_back() -> None:
    assert printed(HOLES) == "True True\n"


def test_a_thread_that_needs_its_memory_no_more_keeps_little_of_it() -> None:
    assert printed(ENDS) == "True\n"


def printed(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
