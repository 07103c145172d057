from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS
from worker.flow.health import Snapshot
from worker.http import Page, Server, routes, serve

ANEW = settings(derandomize=False, print_blob=True)
"""Other examples in each run, those of CI as well, whose own are the same each time by default.

What fails says how to have it again: `@reproduce_failure`.
"""


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with something cut out of them and put in, up to three times."""
    change = st.tuples(st.integers(0, len(data)), st.integers(0, 20), st.binary(max_size=20))

    def changes(found: list[tuple[int, int, bytes]]) -> bytes:
        made = data
        for start, length, new in found:
            made = made[:start] + new + made[start + length :]
        return made

    return st.lists(change, max_size=3).map(changes)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    seeds = SEEDS[name]

    @settings(ANEW, max_examples=100 if name == "spec" else 400)
    @given(st.one_of(*map(changed, seeds), st.binary(max_size=200)))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    for seed in seeds:
        TARGETS[name](seed)
    holds()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An endpoint on this machine."""
    state = Snapshot("spec", "1", 0.0, 0.0)
    paths = routes(lambda: state, lambda _: b"", lambda _: b"", lambda: b"", Page(b"", ""))
    started = serve("127.0.0.1", 0, paths)
    yield started
    started.close()


STATUSES = {b"200", b"400", b"404", b"405", b"408", b"421", b"431"}


@settings(ANEW, max_examples=150)
@given(
    data=st.one_of(changed(SEEDS["request"][0] + b"\r\n\r\n"), st.binary(max_size=200)),
    cut=st.integers(0, 200),
)
def test_any_bytes_on_a_connection_are_answered_or_let_go_of(
    server: Server, data: bytes, cut: int
) -> None:
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(data[:cut])
        client.sendall(data[cut:])
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65_536):
            answer += part

    assert not answer or (answer[:9] == b"HTTP/1.1 " and answer[9:12] in STATUSES)
