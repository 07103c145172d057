"""A worker whose client falls silent in one partition; it is run by the tests of health.

`python -m tests.system.silent HOW FILE SPEC`: once the file is there, the partition 1 of each topic
is not fetched any more, and nobody is told. HOW it is: `paused`, `lost` from the assignment, or
`paused_again` whatever is done about it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

from confluent_kafka import TopicPartition as Place

from worker.app import Options, Wrap, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.engine import ends
from worker.flow import stuck
from worker.kafka.consumer import KafkaConsumer
from worker.observe import logs
from worker.ports import Consumer
from worker.types import Fetch


class SilentConsumer:
    """A consumer whose client is told things behind its back."""

    def __init__(self, port: Consumer, how: str, file: Path) -> None:
        self._port = cast("KafkaConsumer", port)
        self._how = how
        self._file = file
        self._silenced = file.with_suffix(".silenced")

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """See `ports.Consumer`."""
        if self._file.exists() and (self._how == "paused_again" or not self._silenced.exists()):
            self._silence()
        return self._port.poll(limit, timeout)

    def _silence(self) -> None:
        client = self._port.client
        places = [Place(one.topic, 1) for one in client.assignment() if one.partition == 1]
        if self._how == "lost":
            client.incremental_unassign(places)
        else:
            client.pause(places)
        self._silenced.touch()


def main() -> None:
    how, file, spec = sys.argv[1:]
    logs.configure("info", "text")
    stuck.FIRST_AFTER, stuck.NEXT_AFTER, stuck.HOPELESS_AFTER = 3.0, 2.0, 16.0  # type: ignore[misc]
    ends.ASK_EVERY = 0.5  # type: ignore[misc]
    wrap = Wrap(consumer=lambda port: cast("Consumer", SilentConsumer(port, how, Path(file))))
    options = Options(wrap=wrap)
    worker = build(load(Path(spec), os.environ, options, unreadable), options)
    with stopped_by_signals(worker):
        code = worker.run()
    leave(code)


if __name__ == "__main__":
    main()
