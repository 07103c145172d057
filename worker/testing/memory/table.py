"""A reader of compacted topics of the memory broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from worker.errors import ClientError
from worker.ports import Offsets
from worker.testing.memory.cluster import Cluster
from worker.testing.memory.log import Log
from worker.types import RawMessage, StoredMessage, TopicPartition

ISOLATION: Final = "read_committed"


class MemoryTable:
    """Implements `ports.Table`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._positions: dict[TopicPartition, int] = {}

    def read(self, partitions: Sequence[TopicPartition]) -> Sequence[RawMessage]:
        """Take what was written since; raises `ClientError` when the broker is down."""
        with self._cluster.lock:
            if partitions and not self._cluster.up:
                raise ClientError("_TRANSPORT: no broker answers")
            logs = [self._cluster.log(source) for source in dict.fromkeys(partitions)]
            return [record for log in logs for record in self._read(log)]

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Tell the ends, behind what is open; raises `ClientError` when the broker is down."""
        with self._cluster.lock:
            if partitions and not self._cluster.up:
                raise ClientError("_TRANSPORT: no broker answers")
            return {source: self._cluster.log(source).end for source in partitions}

    def position(self, partition: TopicPartition) -> int:
        """Up to where it was read."""
        return self._positions.get(partition, 0)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Begin these anew."""
        for source in partitions:
            self._positions.pop(source, None)

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, log: Log) -> list[StoredMessage]:
        end = log.end_for(ISOLATION)
        start = self._positions.get(log.source, 0)
        self._positions[log.source] = end
        return log.read(start if start <= end else 0, log.end, ISOLATION)
