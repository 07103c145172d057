"""Relays pass everything on, and make it bad as they are told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.network import Network
from tests.faults.proxy import Trouble
from worker.kafka.sockets import free_ports

SOON = 0.3
"""Seconds within which nothing comes that is held."""
PATIENCE = 30.0


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what comes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            while part := client.recv(1_000):
                client.sendall(part)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relayed(echo: int) -> Iterator[tuple[Network, int]]:
    """A relay in front of it, and its port."""
    (port,) = free_ports(1, taken=())
    with Network([(port, echo)]) as network:
        network.done()
        yield network, port


def connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(PATIENCE)
    client.sendall(b"first")
    assert client.recv(100) == b"first"
    return client


@pytest.mark.parametrize("way", ["requests", "answers"])
def test_what_is_held_comes_once_all_is_well_again(relayed: tuple[Network, int], way: str) -> None:
    network, port = relayed
    with connected(port) as client:
        network.suffer(Trouble(hold=(way,)))
        client.sendall(b"second")
        client.settimeout(SOON)
        with pytest.raises(TimeoutError):
            client.recv(100)

        done = network.suffer()

        client.settimeout(PATIENCE)
        assert client.recv(100) == b"second"
        assert done["held"] == 1


def test_every_connection_is_reset_and_the_next_one_is_fine(relayed: tuple[Network, int]) -> None:
    network, port = relayed
    with connected(port) as client:
        assert network.reset()["reset"] == 2
        with pytest.raises(ConnectionResetError):
            client.recv(100)

    with connected(port):
        assert network.done()["connected"] == 2


@pytest.mark.parametrize(
    ("trouble", "what"), [(Trouble(delay=0.01), "delayed"), (Trouble(rate=10_000.0), "slowed")]
)
def test_what_takes_longer_arrives_as_it_was_and_is_counted(
    relayed: tuple[Network, int], trouble: Trouble, what: str
) -> None:
    network, port = relayed
    with connected(port) as client:
        network.suffer(trouble)
        client.sendall(b"second")

        assert client.recv(100) == b"second"
        assert network.done()[what] >= 1


def test_a_relay_whose_number_is_not_named_is_left_alone(echo: int) -> None:
    ports = free_ports(2, taken=())
    with Network([(port, echo) for port in ports]) as network:
        network.done()
        network.suffer(Trouble(hold=("answers",)), only={1})

        connected(ports[0]).close()


def test_a_connection_whose_server_is_away_is_closed() -> None:
    port, nobody = free_ports(2, taken=())
    with Network([(port, nobody)]) as network:
        network.done()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(PATIENCE)
            with suppress(ConnectionResetError):
                assert client.recv(100) == b""
