"""A relay in front of a server, which can keep the server's answers back, or change them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

PART = 65_536


class Relay:
    """Passes connections on to a port of this machine, as a context manager.

    `change` is given each part of an answer as it has come, and returns what is passed back. It
    listens at a port that is free, or `at` one.
    """

    def __init__(self, port: int, change: Callable[[bytes], bytes] = bytes, at: int = 0) -> None:
        self._target = ("127.0.0.1", port)
        self._change = change
        self._answers = threading.Event()
        self._answers.set()
        self._listener = socket.create_server(("127.0.0.1", at))
        self._open: list[socket.socket] = [self._listener]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @contextmanager
    def answers_kept_back(self) -> Iterator[None]:
        """Let requests through, and hold the answers until the end of the block."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.set()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._open.append(server)
        self._begin(lambda: self._pass_on(client, server))
        self._begin(lambda: self._pass_back(server, client))

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while part := client.recv(PART):
                server.sendall(part)
            server.shutdown(socket.SHUT_RDWR)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while part := server.recv(PART):
                self._answers.wait()
                client.sendall(self._change(part))
            client.shutdown(socket.SHUT_RDWR)

    def _begin(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()
