"""The HTTP endpoint: health, figures and a page for whoever may reach its address, read-only.

One thread with an event loop of its own serves every connection; a connection serves one request.
It only ever looks at the snapshot function that it is given, never at a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from math import inf
from typing import Any, Final

import orjson

from worker.errors import CannotListen
from worker.flow.health import Reason, Snapshot, judge
from worker.repeats import limited

log = logging.getLogger(__name__)
refusals = limited(f"{__name__}.refusals")

CONNECTIONS: Final = 32
"""Connections at most; for a further one that is cut which has said nothing for the longest.

As many beside these only have to take their answers and to be closed; the first of them is cut.
"""
HEADER_BYTES: Final = 8 * 1024
"""Longest request line and headers together."""
TIMEOUT: Final = 5.0
"""Seconds that a client has to send its request, and again to take the response."""
KEPT: Final = 0.25
"""Seconds for which an answer that costs much is given again, so that nobody can have it made in a
loop, at the cost of messages."""
LINGER: Final = 1.0
"""Seconds for a client to close first, so that unread bytes of its do not reset the connection."""

_ROUNDS: Final = 5
"""Turns of the loop until what was accepted last is a connection, which can be cut; a server that
is closed before that loses the socket."""

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of Prometheus' text format."""


_HOST: Final = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::\d*)?")
"""The value of the header `Host`: an address in brackets, or a name or address; and a port."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and under which name of this machine."""

    method: str
    path: str
    hosts: tuple[str, ...]
    """What the headers `Host` say, of which there should be one at most."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a route answers."""

    status: int
    body: bytes
    media_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page for people; `policy` is its Content-Security-Policy."""

    body: bytes
    policy: str


Route = Callable[[], Response]
Routes = Mapping[str, Route]
"""Routes by path; they are called in the server's thread, so they must be quick."""


def routes(
    snapshot: Callable[[], Snapshot],
    stats: Callable[[Snapshot], bytes],
    metrics: Callable[[Snapshot], bytes],
    history: Callable[[], bytes],
    page: Page,
) -> Routes:
    """The worker's endpoint: what probes, machines and people look at."""
    policy = (("Content-Security-Policy", page.policy), ("Referrer-Policy", "no-referrer"))
    return {
        "/": lambda: Response(200, page.body, HTML, policy),
        "/livez": lambda: _live(snapshot()),
        "/readyz": lambda: _ready(snapshot()),
        "/stats": lambda: Response(200, stats(snapshot()), JSON),
        "/history": lambda: Response(200, history(), JSON),
        "/metrics": lambda: Response(200, metrics(snapshot()), METRICS),
    }


def kept(route: Route, now: Callable[[], float]) -> Route:
    """The route whose answer is given again for `KEPT` seconds, however often it is asked for."""
    answer, until = None, -inf

    def again() -> Response:
        nonlocal answer, until
        if answer is None or now() >= until:
            answer = route()
            until = now() + KEPT
        return answer

    return again


def _live(snapshot: Snapshot) -> Response:
    return _verdict(judge(snapshot).hopeless)


def _ready(snapshot: Snapshot) -> Response:
    return _verdict(judge(snapshot).reasons)


def _verdict(reasons: Sequence[Reason]) -> Response:
    body = orjson.dumps({"status": "unavailable" if reasons else "ok", "reasons": reasons})
    return Response(503 if reasons else 200, body + b"\n", JSON)


def _listed(paths: Routes) -> bytes:
    return "".join(f"{path}\n" for path in paths).encode()


class Server:
    """A running endpoint; made by `serve`."""

    def __init__(
        self, listener: socket.socket, paths: Routes, hosts: Collection[str] | None
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.address: Final = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        """Where it listens, as host:port."""
        self._listener = listener
        self._paths = paths
        self._hosts = hosts
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._silent: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        """Those whose request is waited for, the oldest first."""
        self._answered: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        """Those whose answers are on their way, or taken, the oldest first."""
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_told)
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is connected; idempotent."""
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(TIMEOUT)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Accept one connection a turn of the loop.

        With a backlog of more asyncio tries as many times where it may open no file, and each of
        these has it try again as often.
        """
        server = await asyncio.start_server(
            self._connected, sock=self._listener, limit=HEADER_BYTES, backlog=1
        )
        self._listener.listen(CONNECTIONS)
        await self._closing.wait()
        self._loop.remove_reader(self._listener)
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections, timeout=TIMEOUT)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._served() >= CONNECTIONS and self._silent:
            self._cut_first(self._silent)
        task = self._loop.create_task(self._guarded(reader, writer))
        self._connections[task], self._silent[writer] = writer, task
        task.add_done_callback(partial(self._forget, writer))

    def _served(self) -> int:
        return len(self._connections) - len(self._answered)

    def _cut_first(self, some: Mapping[asyncio.StreamWriter, asyncio.Task[None]]) -> None:
        writer, task = next(iter(some.items()))
        writer.transport.abort()
        self._forget(writer, task)

    def _forget(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._connections.pop(task, None)
        self._silent.pop(writer, None)
        self._answered.pop(writer, None)

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await self._converse(reader, writer)
        writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._served() > CONNECTIONS:
            answer = b"".join(_encoded(Response(503, b"too many connections\n")))
        else:
            at, *_ = writer.get_extra_info("sockname") or self._listener.getsockname()
            answer = await self._answer(reader, names_at(at, self._hosts))
        task = self._silent.pop(writer, None)
        if not answer or task is None:
            return
        if len(self._answered) >= CONNECTIONS:
            self._cut_first(self._answered)
        self._answered[writer] = task
        writer.transport.set_write_buffer_limits(high=0)  # drained is what the kernel has taken
        async with asyncio.timeout(TIMEOUT):
            writer.write(answer)
            await writer.drain()
        await _linger(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, names: Collection[str] | None) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError:
            text = f"request line and headers take more than {HEADER_BYTES} bytes\n"
            return b"".join(_encoded(Response(431, text.encode())))
        except TimeoutError:
            return b"".join(_encoded(Response(408, b"the request took too long\n")))
        request = request_of(head)
        if request is None:
            return b"".join(_encoded(Response(400, b"this is not an HTTP/1 request\n")))
        header, body = _encoded(self._respond(request, names))
        return header if request.method == "HEAD" else header + body

    def _respond(self, request: Request, names: Collection[str] | None) -> Response:
        if names is not None and not is_for(request.hosts, names):
            return Response(
                421, b"server.hosts of the spec does not name the host of the request\n"
            )
        if request.method not in {"GET", "HEAD"}:
            text = f"{request.path} can be read with GET and HEAD only\n".encode()
            return Response(405, text, headers=(("Allow", "GET, HEAD"),))
        route = self._paths.get(request.path)
        if route is None:
            return Response(404, b"there are:\n" + _listed(self._paths))
        try:
            return route()
        except Exception:
            log.exception("%s could not be answered", request.path)
            return Response(500, b"internal error\n")


def request_of(head: bytes) -> Request | None:
    """What stands in the request line and the headers; None where that is no HTTP/1."""
    first, *headers = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    method, target, _ = words
    named = [line.partition(":") for line in headers]
    hosts = tuple(value.strip(" \t") for name, _, value in named if name.lower() == "host")
    return Request(method, target.partition("?")[0], hosts)


def names_at(address: str, hosts: Collection[str] | None) -> Collection[str] | None:
    """The names that a request may be for which comes to an address of ours; None for any.

    At one that this machine alone can reach, be it by way of a tunnel, it is none by default.
    """
    return () if hosts is None and ip_address(address).is_loopback else hosts


def is_for(hosts: Sequence[str], names: Collection[str]) -> bool:
    """Whether a request is for one of the names, for an address or for localhost.

    One for another name may be of a page in a browser on this machine, whose name was made to lead
    here (DNS rebinding); none can have an address for its name. Without a name it is of no browser.
    """
    if len(hosts) != 1:
        return not hosts
    found = _HOST.fullmatch(hosts[0].lower())
    if found is None:
        return False
    address, name = found.groups()
    if address is None and (name == "localhost" or name in names):
        return True
    try:
        ip_address(name if address is None else address)
    except ValueError:
        return False
    return True


def serve(host: str, port: int, paths: Routes, hosts: Collection[str] | None = None) -> Server:
    """Listen and answer in a thread of its own; with port 0 any free one is taken.

    `hosts` are names of hosts, in small letters, that requests may be for, see `names_at` and
    `is_for`. Raises `CannotListen`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # the latter for a name that can be none
        reason = getattr(error, "strerror", None) or error
        raise CannotListen(
            f"server: cannot listen on {host}:{port}: {reason}; "
            "set server.host and server.port, or --listen; port 0 switches it off"
        ) from error
    return Server(listener, paths, hosts)


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in a line why connections are not accepted; asyncio tries again after a second."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        refusals.error("no connection is accepted: %s; allow it more (ulimit -n)", error.strerror)
    else:
        loop.default_exception_handler(context)


def _encoded(response: Response) -> tuple[bytes, bytes]:
    headers = (
        ("Content-Type", response.media_type),
        ("Content-Length", str(len(response.body))),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Connection", "close"),
        *response.headers,
    )
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode(), response.body


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write_eof()
    async with asyncio.timeout(LINGER):
        while await reader.read(HEADER_BYTES):
            pass
