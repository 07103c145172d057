"""`worker broker`: a real Apache Kafka in the foreground."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import click

from worker.cli.options import SETTINGS
from worker.kafka.broker import KafkaCluster


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

    Prints `ready HOST:PORT,...` once it can be used; SIGINT or SIGTERM ends it, and its data goes.
    Needs the extra `broker`: pip install "stream-worker[broker]".

    \b
    Example:
      worker broker --nodes 3
    """  # noqa: D301 - click's own mark
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        click.echo("starting Apache Kafka; the first time its files are downloaded", err=True)
        begun = time.monotonic()
        with KafkaCluster(nodes) as cluster:
            click.echo(f"started in {time.monotonic() - begun:.1f} s", err=True)
            click.echo(f"ready {cluster.address}")
            _wait_for_a_signal()


def _wait_for_a_signal() -> None:
    never = threading.Event()
    while not never.wait(1.0):
        pass
