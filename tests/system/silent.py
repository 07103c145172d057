"""A worker whose client falls silent in one partition; it is run by the tests of health.

`python -m tests.system.silent HOW FILE SPEC`: once the file is there, the partition 1 of each topic
is not fetched any more, and nobody is told. HOW it is: `paused`, `lost` from the assignment,
`paused_in_client` whatever is done but with another client, or `paused_again` with any. Repairs
come soon, and so does a new client where the coordinator is away.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

from confluent_kafka import TopicPartition as Place

from worker.app import Options, Wrap, build, load, unreadable
from worker.cli.ending import leave, stopped_by_signals
from worker.engine import ends, pipeline
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
        self._is_first = not self._silenced.exists()

    def __getattr__(self, name: str) -> Any:
        """Whatever is not here is the port's."""
        return getattr(self._port, name)

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """See `ports.Consumer`."""
        if self._file.exists() and (self._goes_on or not self._silenced.exists()):
            self._silence()
        if not self._port.client.assignment():  # what is assigned is to be silenced before it comes
            limit, timeout = 1, 0.0
        return self._port.poll(limit, timeout)

    @property
    def _goes_on(self) -> bool:
        """Whether a partition that is fetched again is to be silenced again."""
        return self._how == "paused_again" or (self._how == "paused_in_client" and self._is_first)

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
    pipeline.CUT_OFF_AFTER = 4.0
    wrap = Wrap(consumer=lambda port: cast("Consumer", SilentConsumer(port, how, Path(file))))
    options = Options(wrap=wrap)
    worker = build(load(Path(spec), os.environ, options, unreadable), options)
    with stopped_by_signals(worker):
        code = worker.run()
    leave(code)


if __name__ == "__main__":
    main()
