"""The endpoint over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from worker.errors import CannotListen
from worker.flow.health import PipelineState, Snapshot
from worker.http import (
    CONNECTIONS,
    HEADER_BYTES,
    KEPT,
    Page,
    Response,
    Route,
    Routes,
    Server,
    is_for,
    kept,
    names_at,
    routes,
    serve,
)
from worker.settings import Server as ServerSettings

READY = PipelineState("delays", "g", "running", joined=True, connected=True, stepped=100.0)


def snapshot(*pipelines: PipelineState, now: float = 100.0) -> Snapshot:
    return Snapshot("flights", "1.2.3", started=0.0, now=now, pipelines=pipelines)


def failing() -> Response:
    raise ValueError("secret payload")


PATHS: Routes = {
    **routes(
        lambda: snapshot(READY),
        lambda _: b"{}\n",
        lambda found: found.name.encode(),
        lambda: b"[]\n",
        Page(b"<title>", "default-src 'none'"),
    ),
    "/broken": failing,
}


@pytest.fixture
def server() -> Iterator[Server]:
    started = serve("127.0.0.1", 0, PATHS)
    yield started
    started.close()


def ask(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(server.address, timeout=10)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def everything(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def send_on(client: socket.socket) -> None:
    """Send until the other end has cut the connection."""
    while True:
        client.sendall(b"more")


def health(current: Snapshot, path: str) -> tuple[int, dict[str, object]]:
    page = Page(b"", "")
    response = routes(lambda: current, lambda _: b"", lambda _: b"", lambda: b"", page)[path]()
    return response.status, json.loads(response.body)


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("/stats", "application/json", b"{}\n"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", b"flights"),
        ("/history", "application/json", b"[]\n"),
        ("/", "text/html; charset=utf-8", b"<title>"),
    ],
)
def test_each_path_answers_with_its_own_type(
    server: Server, path: str, media_type: str, content: bytes
) -> None:
    response, body = ask(server, path)

    assert (response.status, body) == (200, content)
    assert response.headers["Content-Type"] == media_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Server"] is None
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Access-Control-Allow-Origin"] is None


def test_a_spec_that_says_nothing_of_it_is_served_on_this_machine_alone() -> None:
    assert ServerSettings().host == "127.0.0.1"


def test_a_query_does_not_change_the_path(server: Server) -> None:
    response, _ = ask(server, "/stats?pretty=1")

    assert response.status == 200


def test_a_worker_with_all_pipelines_ready_is_ready() -> None:
    assert health(snapshot(READY), "/readyz") == (200, {"status": "ok", "reasons": []})


def test_a_failed_pipeline_is_live_but_not_ready_and_says_why() -> None:
    failed = PipelineState("delays", "g", "failed", failed="a poison pill")

    assert health(snapshot(failed), "/livez") == (200, {"status": "ok", "reasons": []})
    assert health(snapshot(failed), "/readyz") == (
        503,
        {
            "status": "unavailable",
            "reasons": [
                {"code": "failed", "text": "delays: stopped: a poison pill", "pipeline": "delays"}
            ],
        },
    )


def test_a_pipeline_that_makes_no_step_is_not_live() -> None:
    status, answer = health(snapshot(READY, now=1000.0), "/livez")

    assert status == 503
    assert answer["reasons"] == [
        {"code": "no_step", "text": "delays: no step for 900 s", "pipeline": "delays"}
    ]


def test_head_has_the_headers_of_get_and_no_body(server: Server) -> None:
    get, body = ask(server, "/stats")
    head, nothing = ask(server, "/stats", "HEAD")

    assert head.status == 200
    assert head.headers.items() == get.headers.items()
    assert (body, nothing) == (b"{}\n", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused_with_those_that_are_allowed(server: Server, method: str) -> None:
    response, _ = ask(server, "/stats", method)

    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_the_refusal_of_a_request_with_a_body_arrives_whole(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"POST /stats HTTP/1.1\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
        client.shutdown(socket.SHUT_WR)

        assert everything(client).startswith(b"HTTP/1.1 405 ")


def test_an_unknown_path_is_answered_with_those_that_are_there(server: Server) -> None:
    response, body = ask(server, "/nothing")

    assert response.status == 404
    assert body == b"there are:\n/\n/livez\n/readyz\n/stats\n/history\n/metrics\n/broken\n"


def test_the_page_may_only_ask_its_own_worker(server: Server) -> None:
    response, _ = ask(server, "/")

    assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    assert response.headers["Referrer-Policy"] == "no-referrer"


def test_a_route_that_raises_is_logged_and_its_detail_stays_inside(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    response, body = ask(server, "/broken")

    assert (response.status, body) == (500, b"internal error\n")
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("worker.http", logging.ERROR)
    ]
    assert "secret payload" in caplog.text


def test_headers_that_are_too_long_are_refused(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * (3 * HEADER_BYTES))
        client.shutdown(socket.SHUT_WR)

        assert everything(client).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_line", [b"hello", b"GET /", b"GET  / HTTP/1.1", b"GET / SPDY/3", b"\x16\x03\x01", b""]
)
def test_what_is_not_http_is_refused(server: Server, request_line: bytes) -> None:
    with connect(server) as client:
        client.sendall(request_line + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)

        assert everything(client).startswith(b"HTTP/1.1 400 ")


def test_a_connection_serves_one_request(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"GET /stats HTTP/1.1\r\n\r\n" * 2)
        client.shutdown(socket.SHUT_WR)
        answer = everything(client)

    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close\r\n" in answer


def test_a_client_that_sends_nothing_is_let_go_of_after_the_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.http.TIMEOUT", 0.05)
    server = serve("127.0.0.1", 0, PATHS)
    try:
        with connect(server) as client:
            assert everything(client).startswith(b"HTTP/1.1 408 ")
    finally:
        server.close()


def test_connections_that_say_nothing_keep_nobody_out(server: Server) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(CONNECTIONS)]
        statuses = [ask(server, "/stats")[0].status for _ in range(3)]

        assert statuses == [200, 200, 200]
        assert everything(silent[0]) == b""
        silent[-1].sendall(b"GET /stats HTTP/1.1\r\n\r\n")
        assert everything(silent[-1]).startswith(b"HTTP/1.1 200 ")


def test_connections_that_were_answered_and_stay_open_keep_nobody_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.http.LINGER", 600)
    with ExitStack() as stack:
        answered = []
        for _ in range(2 * CONNECTIONS):
            client = stack.enter_context(connect(server))
            client.sendall(b"GET /stats HTTP/1.1\r\n\r\n")
            assert everything(client).startswith(b"HTTP/1.1 200 ")
            answered.append(client)

        assert ask(server, "/livez")[0].status == 200
        with pytest.raises(ConnectionError):
            send_on(answered[0])
        answered[-1].sendall(b"more")


def test_connections_that_do_not_take_their_answers_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.http.TIMEOUT", 600)
    large = serve("127.0.0.1", 0, {**PATHS, "/large": lambda: Response(200, bytes(16 << 20))})
    with closing(large), ExitStack() as stack:
        for _ in range(CONNECTIONS + 1):
            client = stack.enter_context(connect(large))
            client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            assert client.recv(1)

        assert ask(large, "/livez")[0].status == 200


@contextmanager
def no_file_to_open() -> Iterator[None]:
    """Let this process open no file but those that it has."""
    with socket.socket() as last:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(last.fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_where_no_file_may_be_opened_a_line_says_so_and_who_waits_is_answered_later(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[object] = []
    told = server._loop.get_exception_handler()
    assert told is not None

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        tried.append(context)
        told(loop, context)

    server._loop.set_exception_handler(tell)
    host, _, port = server.address.rpartition(":")
    with socket.socket() as client:
        client.settimeout(10)

        with no_file_to_open():
            client.connect((host, int(port)))
            client.sendall(b"GET /stats HTTP/1.1\r\n\r\n")
            while not tried:
                os.sched_yield()
            for _ in range(10):
                turn(server)

        assert everything(client).startswith(b"HTTP/1.1 200 ")
    assert len(tried) == 1, "asyncio tries again after a second"
    assert [record.getMessage() for record in caplog.records] == [
        "no connection is accepted: Too many open files; allow it more (ulimit -n)"
    ]


def turn(server: Server) -> None:
    """Wait for a turn of the server's loop."""
    done = threading.Event()
    server._loop.call_soon_threadsafe(done.set)
    assert done.wait(10)


def test_a_port_in_use_is_said_so(server: Server) -> None:
    port = int(server.address.rpartition(":")[2])

    with pytest.raises(CannotListen, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
        serve("127.0.0.1", port, PATHS)


def test_an_address_of_another_machine_is_said_so() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:8080"):
        serve("192.0.2.1", 8080, PATHS)


def test_a_name_that_can_be_none_is_said_so() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on a\.\.b:8080: .*label"):
        serve("a..b", 8080, PATHS)


def test_a_closed_server_answers_nobody_and_frees_its_port(server: Server) -> None:
    with connect(server) as waiting:
        server.close()
        server.close()

        with suppress(ConnectionResetError):  # when it was not even accepted
            assert everything(waiting) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    port = int(server.address.rpartition(":")[2])
    serve("127.0.0.1", port, PATHS).close()


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "10.0.0.1", "Proxy.example:80"],
)
def test_a_request_may_be_for_an_address_for_localhost_and_for_a_name_that_is_allowed(
    host: str,
) -> None:
    assert is_for([host], ["proxy.example"])


@pytest.mark.parametrize(
    "hosts",
    [
        ["evil.example"],
        ["evil.example:8080"],
        ["localhost.evil.example"],
        ["127.0.0.1.evil.example"],
        ["localhost:8080@evil.example"],
        ["proxy.example.evil.example"],
        ["[localhost]"],
        [""],
        ["localhost", "evil.example"],
    ],
)
def test_a_request_for_another_name_is_for_somebody_else(hosts: list[str]) -> None:
    assert not is_for(hosts, ["proxy.example"])


def test_a_page_of_another_name_cannot_ask_a_worker_of_this_machine_whose_name_leads_here(
    server: Server,
) -> None:
    response, body = ask(server, "/stats", host="evil.example")

    assert response.status == 421
    assert b"server.hosts" in body
    assert ask(server, "/stats", host="localhost")[0].status == 200


def test_an_answer_that_is_asked_for_in_a_loop_is_made_once_in_its_time() -> None:
    now, made = 0.0, 0

    def route() -> Response:
        nonlocal made
        made += 1
        return Response(200, b"%d" % made)

    again = kept(route, lambda: now)
    bodies = []
    for moment in (0.0, 0.1, KEPT - 0.01, KEPT, 2 * KEPT - 0.01, 9.0):
        now = moment
        bodies.append(again().body)

    assert bodies == [b"1", b"1", b"1", b"2", b"2", b"3"]


def test_an_answer_that_cannot_be_made_is_tried_again() -> None:
    routes_in_turn: Iterator[Route] = iter([failing, lambda: Response(200, b"well")])

    def route() -> Response:
        return next(routes_in_turn)()

    again = kept(route, lambda: 0.0)

    with pytest.raises(ValueError, match="secret payload"):
        again()

    assert again().body == b"well"


@pytest.mark.parametrize(
    ("address", "hosts", "names"),
    [
        ("10.0.0.5", None, None),
        ("fe80::1%eth0", None, None),
        ("10.0.0.5", ["flights"], ["flights"]),
        ("127.0.0.1", None, ()),
        ("127.9.9.9", None, ()),
        ("::1", None, ()),
        ("127.0.0.1", ["flights"], ["flights"]),
    ],
)
def test_at_an_address_that_others_can_reach_names_are_looked_at_only_if_some_are_given(
    address: str, hosts: list[str] | None, names: Collection[str] | None
) -> None:
    assert names_at(address, hosts) == names


@pytest.mark.parametrize(("hosts", "status"), [(None, 421), (["other"], 421), (["flights"], 200)])
def test_a_page_cannot_ask_by_an_address_of_this_machine_where_it_listens_on_all(
    hosts: list[str] | None, status: int
) -> None:
    with closing(serve("0.0.0.0", 0, PATHS, hosts)) as server:
        assert ask(server, "/stats", host="flights")[0].status == status
        assert ask(server, "/stats", host="localhost")[0].status == 200
