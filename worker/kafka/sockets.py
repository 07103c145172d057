"""The TCP ports of brokers on this machine: picked, and kept while nothing listens on them."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
from collections.abc import Iterable
from typing import Final

HOST: Final = "127.0.0.1"

_PORTS: Final = range(20000, 32000)
"""Below the ports that systems hand to outgoing connections: a client that connects again and
again to a stopped node of its own machine can otherwise be given that very port, and keeps it."""


def free_ports(count: int, taken: Iterable[int]) -> list[int]:
    """Pick ports that nothing is bound to, other than those taken."""
    free: list[int] = []
    candidates = (port for port in random.sample(_PORTS, len(_PORTS)) if port not in set(taken))
    for port in candidates:
        if len(free) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            free.append(port)
    return free


def reserve(ports: Iterable[int]) -> list[socket.socket]:
    """Keep the ports while nodes are down, until the sockets are closed.

    On Linux a socket that is bound but does not listen, with SO_REUSEADDR, keeps everyone out but
    a server that asks for the port with SO_REUSEADDR, as Java does. Elsewhere it would keep Java
    out as well, so that nothing is reserved.
    """
    reserved: list[socket.socket] = []
    if sys.platform != "linux":
        return reserved
    for port in ports:
        holder = socket.socket()
        reserved.append(holder)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # taken after all: then the node's log will say so
            holder.bind((HOST, port))
    return reserved
