"""When everything that was fed is through all pipelines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from worker.cli.feed import FeedFailed
from worker.errors import ClientError
from worker.flow.health import Snapshot
from worker.types import TopicPartition

LOOK_EVERY = 0.2
"""Seconds between two looks at the worker."""

Ends = Mapping[TopicPartition, int]
"""The end of each partition: the offset after its last record."""


class Watched(Protocol):
    """What is watched: `engine.worker.Worker` is one."""

    def stop(self) -> None: ...
    def snapshot(self) -> Snapshot: ...


class Fed(Protocol):
    """Where the records come from: `feed.Feeder` is one."""

    @property
    def done(self) -> threading.Event: ...
    @property
    def failed(self) -> FeedFailed | None: ...


def is_through(snapshot: Snapshot, sources: Mapping[str, Sequence[str]], ends: Ends) -> bool:
    """Whether no pipeline of `sources` (name to topics) that can go on has anything left to do.

    `ends` must be asked for after `snapshot` was taken, and both after the feeding. Then it is
    certain: an offset is committable only when everything that its message led to is acknowledged.
    So where each committable offset was the end, nothing was under way that could add records for
    another pipeline, and the ends, which are younger, hold what all pipelines have written. So it
    is with retry topics, which belong to `sources`: a message that was moved is in one of them.
    """
    states = {pipeline.name: pipeline for pipeline in snapshot.pipelines}
    if not states.keys() >= sources.keys():
        return False
    for name, topics in sources.items():
        state = states[name]
        if state.failed is not None:
            continue
        reached = {TopicPartition(p.topic, p.partition): p.committable for p in state.partitions}
        for source, end in ends.items():
            if source.topic in topics and reached.get(source, -1) < end:
                return False
    return True


class Watch(threading.Thread):
    """Shows the worker's state and stops the worker when everything is through.

    `ends` is called in this thread; without `fed` the worker goes on until somebody stops it.
    """

    def __init__(
        self,
        worker: Watched,
        show: Callable[[Snapshot], None],
        fed: Fed | None,
        sources: Mapping[str, Sequence[str]],
        ends: Callable[[], Ends],
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._worker = worker
        self._show = show
        self._fed = fed
        self._sources = sources
        self._ends = ends
        self._over = threading.Event()
        self.arrived = False
        """Whether everything was through before the worker was stopped."""
        self.failed: ClientError | None = None

    def run(self) -> None:
        """Look at the worker now and then."""
        while not self._over.wait(LOOK_EVERY):
            all_fed = self._fed is not None and self._fed.done.is_set()
            snapshot = self._worker.snapshot()
            self._show(snapshot)
            if not snapshot.draining and all_fed and self._has_ended(snapshot):
                self._worker.stop()
                return

    def end(self) -> None:
        """Watch no longer, and wait for the end of the thread."""
        self._over.set()
        self.join()

    def _has_ended(self, snapshot: Snapshot) -> bool:
        if self._fed is not None and self._fed.failed is not None:
            return True
        try:
            self.arrived = is_through(snapshot, self._sources, self._ends())
        except ClientError as error:
            self.failed = error
            return True
        return self.arrived
