"""Becomes a worker, beside a process that holds connections to it and says nothing on them.

usage: python -m bench.crowd PORT COMMAND...
"""

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

NUMBER: Final = 200
LOOK_EVERY: Final = 0.1


def main(port: str, command: list[str]) -> None:
    """Who connects has a process group of its own, so that no figure of the worker has it."""
    subprocess.Popen([sys.executable, "-m", "bench.crowd", port], start_new_session=True)
    os.execv(command[0], command)


def crowd(port: int) -> None:
    """Hold so many connections until the worker has ended, and make new ones in place of lost."""
    worker, held = os.getppid(), list[socket.socket]()
    while os.getppid() == worker:
        for lost in select.select(held, [], [], 0)[0]:
            held.remove(lost)
            lost.close()
        with suppress(OSError):  # nothing answers before the worker has begun
            while len(held) < NUMBER:
                held.append(socket.create_connection(("127.0.0.1", port), timeout=1.0))
        time.sleep(LOOK_EVERY)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(sys.argv[1], sys.argv[2:])
    else:
        crowd(int(sys.argv[1]))
