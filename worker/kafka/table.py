"""`ports.Table` on confluent-kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer as Client

from worker.errors import ClientError, WorkerError
from worker.kafka.admin import KafkaAdmin
from worker.kafka.questions import ASK_TIMEOUT, find
from worker.kafka.reader import outsider, records
from worker.ports import Offsets
from worker.settings import KafkaSettings
from worker.types import RawMessage, TopicPartition


class KafkaTable:
    """Reads with the rights for a group, which it does not join.

    Between two reads the client fetches nothing: it remembers only where it has been.
    """

    def __init__(self, kafka: KafkaSettings, group: str) -> None:
        self._kafka = kafka
        self._group = group
        self._client: Client | None = None
        self._admin: KafkaAdmin | None = None
        """Asked for ends: the client knows those of its isolation only."""
        self._positions: dict[TopicPartition, int] = {}

    def read(self, partitions: Sequence[TopicPartition]) -> Sequence[RawMessage]:
        """See `ports.Table`."""
        if not partitions:
            return []
        with self._sound() as client:
            client.poll(0)  # what there is to be logged
            ends = find(client, [*dict.fromkeys(partitions)], "newest")
            starts = self._starts(client, ends)
            try:
                found = list(records(client, starts, ends))
            finally:
                client.unassign()
        self._positions.update(ends)
        return found

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """See `ports.Table`."""
        if not partitions:
            return {}
        if self._admin is None:
            self._admin = KafkaAdmin(self._kafka, ASK_TIMEOUT)
        try:
            ends = self._admin.ends(partitions, "read_uncommitted")
        except WorkerError as error:
            self._admin = None
            raise ClientError(str(error), retriable=True) from error
        for source in partitions:
            if source not in ends:
                raise ClientError(f"the cluster does not say where {source} ends", retriable=True)
        return ends

    def position(self, partition: TopicPartition) -> int:
        """See `ports.Table`."""
        return self._positions.get(partition, 0)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """See `ports.Table`."""
        for source in partitions:
            self._positions.pop(source, None)

    def close(self) -> None:
        """See `ports.Table`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def _sound(self) -> Iterator[Client]:
        """A client that knows the cluster; one that has met an error is not asked again.

        It could take a topic that was made anew for gone, for as long as it lives.
        """
        if self._client is None:
            self._client = outsider(self._kafka, self._group)
        try:
            yield self._client
        except ClientError:
            self.close()
            raise

    def _starts(self, client: Client, ends: Offsets) -> Offsets:
        """Where there is more to read; anew where the log does not reach to what was read."""
        grown = [source for source, end in ends.items() if self._positions.get(source) != end]
        starts = {}
        for source, low in find(client, grown, "oldest").items():
            position = self._positions.get(source, low)
            starts[source] = position if low <= position <= ends[source] else low
        return starts
