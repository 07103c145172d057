"""Records looked up: the one at a place, and those of topics that are read in no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from worker.errors import ClientError, InvalidPartition
from worker.flow.life import Life, Missing, Place, lives_of
from worker.kafka.reader import Bounds, Reader
from worker.operate.explanation import Explanation
from worker.settings import KafkaSettings
from worker.types import Message, TopicPartition

KEPT: Final = 10_000
"""Records that are kept at most while topics are read."""
KEPT_BYTES: Final = 64 * 1024**2
"""The same in bytes of their keys and payloads."""
TELL_EVERY: Final = 500
"""Records between two reports of progress."""

Keep = Callable[[Message], bool]
OnProgress = Callable[[int, int], object]
"""Is told how many offsets were passed, and of how many."""


def look(
    kafka: KafkaSettings, reader: Reader, place: Place
) -> tuple[Message | None, Missing | None]:
    """The record at a place, and why readers of committed records do not see one.

    Its topic has to be there. Raises `InvalidPartition` where its partition is not.
    """
    source = place.source
    bounds = reader.bounds([place.topic])
    if source not in bounds:
        last = len(bounds) - 1
        raise InvalidPartition(f"topic {place.topic} has the partitions 0 to {last}")
    low, end = bounds[source]
    if place.offset < low:
        return None, "expired"
    record = reader.at(source, place.offset) if place.offset < end else None
    if record is not None:
        return record, None
    with Reader(kafka, "read_uncommitted") as every:
        if place.offset >= every.bounds([place.topic])[source].end:
            return None, "ahead"
        hidden = every.at(source, place.offset)
    return hidden, "gap" if hidden is None else "open" if place.offset >= end else "aborted"


class Search:
    """Topics are read, in bounded time and memory, and records are kept of them."""

    def __init__(
        self,
        reader: Reader,
        seconds: float,
        found: Explanation,
        on_progress: OnProgress,
        records: list[Message],
    ) -> None:
        self.reader = reader
        self.found = found
        self.records = records
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._on_progress = on_progress
        self._kept_bytes = 0
        self._passed = 0
        self._all = 0

    def read(self, topics: Sequence[str], keep: Keep) -> None:
        """Read topics up to their present ends; which ones were not is noted."""
        spans = {topic: span for topic in topics if (span := self._span(topic)) is not None}
        self._all += sum(end - low for span in spans.values() for low, end in span.values())
        for topic, span in spans.items():
            try:
                why = self._read(span, keep)
            except ClientError as error:
                why = str(error)
            if why is None and topic not in self.found.looked:
                self.found.looked.append(topic)
            elif why is not None:
                self.found.unread[topic] = why
        self._on_progress(self._all, self._all)

    def lives(self, wanted: Iterable[Life]) -> list[Life]:
        """These messages with all that belongs to them of what was kept."""
        known = {(life.route.group, life.first): life for life in wanted}
        routes = list({life.route.group: life.route for life in known.values()}.values())
        for life in lives_of(self.records, routes):
            key = (life.route.group, life.first)
            if key in known:
                life.missing = known[key].missing
                life.source = life.source or known[key].source
                known[key] = life
        return list(known.values())

    def _span(self, topic: str) -> dict[TopicPartition, Bounds] | None:
        try:
            return self.reader.since(topic, self.found.since)
        except ClientError as error:
            self.found.unread[topic] = str(error)
            return None

    def _read(self, span: dict[TopicPartition, Bounds], keep: Keep) -> str | None:
        """Read one topic; returns why not to its end."""
        at = {source: low for source, (low, _) in span.items()}
        before = self._passed
        for number, message in enumerate(self.reader.beside(span)):
            if number % TELL_EVERY == 0:
                self._passed = before + sum(at[one] - span[one].low for one in at)
                self._on_progress(self._passed, self._all)
                if time.monotonic() > self._deadline:
                    return f"not to its end: the time is over ({self._seconds:g} s)"
            at[message.source] = message.offset + 1
            if keep(message):
                if len(self.records) >= KEPT or self._kept_bytes > KEPT_BYTES:
                    return f"not to its end: {len(self.records):,} records fit, look for less"
                self._kept_bytes += len(message.key or b"") + len(message.value or b"")
                self.records.append(message)
        self._passed = before + sum(end - low for low, end in span.values())
        return None
