"""The log of one partition, and the partitioner that the Java clients use."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from functools import lru_cache
from itertools import islice

from worker.ports import Place
from worker.types import Headers, Isolation, StoredMessage, TopicPartition


class Log:
    """The records of one partition; offsets may have gaps, as real ones have."""

    def __init__(self, source: TopicPartition) -> None:
        self.source = source
        self.start = 0
        """The first offset that is not deleted."""
        self.end = 0
        """The offset of the next record."""
        self._records: list[StoredMessage] = []
        self._open: dict[object, list[int]] = {}
        """The offsets of each transaction that is open, in order."""
        self._aborted: set[int] = set()
        self._newest = 0
        """The latest time of a record."""

    def append(
        self,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        timestamp: int,
        transaction: object | None = None,
    ) -> StoredMessage:
        """Add a record; `timestamp` is in milliseconds since 1970."""
        topic, partition = self.source
        record = StoredMessage(
            topic, partition, self.end, value=value, key=key, headers=headers, timestamp=timestamp
        )
        if transaction is not None:
            self._open.setdefault(transaction, []).append(self.end)
        self._records.append(record)
        self._newest = max(self._newest, timestamp)
        self.end += 1
        return record

    def end_transaction(self, transaction: object, *, commit: bool) -> None:
        """Add the control record that commits or aborts the records of a transaction."""
        offsets = self._open.pop(transaction)
        if not commit:
            self._aborted.update(offsets)
        self.skip(1)

    def end_for(self, isolation: Isolation) -> int:
        """How far a reader gets: under `read_committed` to the first open transaction."""
        if isolation == "read_uncommitted" or not self._open:
            return self.end
        return min([offsets[0] for offsets in self._open.values()])

    def skip(self, count: int) -> None:
        """Leave offsets without a record, as control records and compaction do."""
        self.end += count

    def truncate(self, before: int) -> None:
        """Delete the records in front of an offset."""
        self.start = max(self.start, min(before, self.end))
        del self._records[: self._index(self.start)]

    def expire(self, before: int) -> None:
        """Delete everything when all of it is older than a time, as brokers do with a segment."""
        if self._records and self._newest < before:
            self.truncate(self.end)

    def compact(self) -> None:
        """Keep the last record of each key, of what is committed, and all behind that."""
        end = self.end_for("read_committed")
        cleaned = self.read(self.start, end, "read_committed")
        kept = {record.key(): record for record in cleaned}.values()
        self._records = sorted(kept, key=StoredMessage.offset) + self._records[self._index(end) :]

    def read(self, offset: int, limit: int, isolation: Isolation) -> list[StoredMessage]:
        """Take up to `limit` records from an offset on."""
        end = self.end_for(isolation)
        if offset >= end:
            return []
        first, last = self._index(offset), self._index(end)
        if isolation == "read_uncommitted" or not self._aborted:
            return self._records[first : min(last, first + limit)]
        records = (self._records[place] for place in range(first, last))
        return [*islice((one for one in records if one.offset() not in self._aborted), limit)]

    def find(self, place: Place, isolation: Isolation) -> int:
        """Look up the offset of a place; a time after the last record has the end.

        A time may have the offset of an aborted record, which brokers do not leave out.
        """
        end = self.end_for(isolation)
        if isinstance(place, datetime):
            wanted = place.timestamp() * 1000
            readable = self._records[: self._index(end)]
            later = (r.offset() for r in readable if r.timestamp()[1] >= wanted)
            return next(later, end)
        return self.start if place == "oldest" else end

    def _index(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=StoredMessage.offset)


def murmur2(data: bytes) -> int:
    """Hash a key to 32 bits as `org.apache.kafka.common.utils.Utils.murmur2` does."""
    mix, mask = 0x5BD1E995, 0xFFFFFFFF
    whole = len(data) & ~3
    digest = (0x9747B28C ^ len(data)) & mask
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * mix & mask
        digest = (digest * mix & mask) ^ ((word ^ word >> 24) * mix & mask)
    if data[whole:]:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * mix & mask
    digest = (digest ^ digest >> 13) * mix & mask
    return digest ^ digest >> 15


@lru_cache(maxsize=4_096)
def partition_of(key: bytes, partitions: int) -> int:
    """Choose the partition of a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
