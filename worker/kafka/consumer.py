"""`ports.Consumer` on confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from worker.errors import ClientError, ClientFatal, CommitFailed, Fenced
from worker.kafka.callbacks import Kept, client_logger
from worker.kafka.config import Properties
from worker.kafka.stats import Statistics
from worker.ports import Offsets, Place, Rebalance
from worker.types import ClientTotals, Fetch, Message, TopicPartition

ASK_TIMEOUT: Final = 10.0
"""Seconds for one question to the cluster."""
ASSIGN_TIMEOUT: Final = 25.0
"""Seconds for learning the committed offsets of an assignment, all questions together."""

_SPECIAL: Final = {"oldest": -2, "newest": -1}
"""Timestamps that stand for the ends of a partition in Kafka's ListOffsets."""

_OFFSET_LOST: Final = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001
_FENCED: Final = {KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED}  # noqa: SLF001


class KafkaConsumer:
    """A member of a group; made with the properties of `config.consumer`."""

    def __init__(self, properties: Properties) -> None:
        self._statistics = Statistics()
        self._kept = Kept()
        self._log = client_logger("consumer")
        self._rebalance: Rebalance
        self._last_error: str | None = None
        self._closed = False
        guard = self._kept.guard
        self._client = Client(
            {
                **properties,
                "stats_cb": guard(self._statistics.update),
                "error_cb": guard(self._on_error),
                "on_commit": guard(self._on_commit),
            },
            logger=self._log,
        )

    @property
    def last_error(self) -> str | None:
        """See `ports.Consumer`."""
        return self._last_error

    @property
    def connected(self) -> bool:
        """See `ports.Consumer`."""
        return self._statistics.connected

    def totals(self) -> ClientTotals:
        """See `ports.Consumer`."""
        return self._statistics.totals()

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """See `ports.Consumer`."""
        self._rebalance = rebalance
        guard = self._kept.guard
        self._client.subscribe(
            list(topics),
            on_assign=guard(self._on_assign),
            on_revoke=guard(self._on_revoke),
            on_lost=guard(self._on_lost),
        )

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """See `ports.Consumer`."""
        self._kept.release()
        first = self._client.poll(timeout)
        if first is None:
            return []
        raws = [first]
        if limit > 1:
            raws += self._client.consume(limit - 1, 0)
        return self._fetches(raws)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """See `ports.Consumer`."""
        self._call(self._client.pause, [ClientPartition(*p) for p in partitions])

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """See `ports.Consumer`."""
        self._call(self._client.resume, [ClientPartition(*p) for p in partitions])

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `ports.Consumer`."""
        place = ClientPartition(*partition, offset)
        self._call(self._client.incremental_unassign, [place])
        self._call(self._client.incremental_assign, [place])

    def find(self, partitions: Sequence[TopicPartition], place: Place) -> Offsets:
        """See `ports.Consumer`."""
        when = int(place.timestamp() * 1000) if isinstance(place, datetime) else _SPECIAL[place]
        asked = [ClientPartition(*partition, when) for partition in partitions]
        found = self._call(self._client.offsets_for_times, asked, ASK_TIMEOUT)
        offsets = {}
        for answer in found:
            if answer.error is not None:
                raise ClientError(f"offset of {answer.topic}[{answer.partition}]: {answer.error}")
            source = TopicPartition(answer.topic, answer.partition)
            offsets[source] = answer.offset if answer.offset >= 0 else self._end(source)
        return offsets

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """See `ports.Consumer`; the end of what may be read, aborted transactions included."""
        ends = {}
        for partition in partitions:
            _, end = self._client.get_watermark_offsets(ClientPartition(*partition), cached=True)
            if end >= 0:
                ends[partition] = end
        return ends

    def commit(self, offsets: Offsets, *, wait: bool) -> None:
        """See `ports.Consumer`."""
        places = [ClientPartition(*source, offset) for source, offset in offsets.items()]
        try:
            if not wait:
                self._client.commit(offsets=places, asynchronous=True)
                return
            answers = self._client.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise CommitFailed(str(error.args[0])) from error
        failed = [answer for answer in answers if answer.error is not None]
        if failed:
            raise CommitFailed(_errors(failed))

    def close(self) -> None:
        """See `ports.Consumer`."""
        if not self._closed:
            self._closed = True
            self._client.close()
            self._kept.release()

    # --- what the client tells, inside poll and close ---

    def _on_assign(self, _client: Client, partitions: list[ClientPartition]) -> None:
        committed = self._committed(partitions) if partitions else {}
        starts = self._rebalance.assigned(committed)
        self._client.incremental_assign(
            [ClientPartition(*source, offset) for source, offset in starts.items()]
        )

    def _on_revoke(self, _client: Client, partitions: list[ClientPartition]) -> None:
        self._rebalance.revoked(_sources(partitions))

    def _on_lost(self, _client: Client, partitions: list[ClientPartition]) -> None:
        self._rebalance.lost(_sources(partitions))

    def _on_commit(self, error: KafkaError | None, partitions: list[ClientPartition]) -> None:
        failed = [partition for partition in partitions if partition.error is not None]
        text = str(error) if error is not None else _errors(failed) if failed else None
        offsets = {TopicPartition(p.topic, p.partition): p.offset for p in partitions}
        self._rebalance.committed(offsets, text)

    def _on_error(self, error: KafkaError) -> None:
        self._last_error = str(error)
        self._log.warning("%s", error)

    # --- details ---

    def _fetches(self, raws: list[Any]) -> list[Fetch]:
        by_place: dict[tuple[str, int], list[Any]] = {}
        for raw in raws:
            if raw.error() is None:
                by_place.setdefault((raw.topic(), raw.partition()), []).append(raw)
            else:
                self._on_message_error(raw)
        return [
            Fetch(TopicPartition(*place), [Message(raw) for raw in group], sum(map(len, group)))
            for place, group in by_place.items()
        ]

    def _on_message_error(self, raw: Any) -> None:
        error = raw.error()
        self._last_error = str(error)
        if error.code() in _OFFSET_LOST:
            self._rebalance.offset_lost(TopicPartition(raw.topic(), raw.partition()))
        elif error.code() in _FENCED:
            self._keep(Fenced(str(error)))
        elif error.fatal():
            self._keep(ClientFatal(str(error)))
        else:
            self._log.warning("%s", error)

    def _keep(self, error: Exception) -> None:
        def fail() -> None:
            raise error

        self._kept.guard(fail)()

    def _committed(self, partitions: list[ClientPartition]) -> dict[TopicPartition, int | None]:
        deadline = time.monotonic() + ASSIGN_TIMEOUT
        while True:
            try:
                answers = self._client.committed(partitions, ASK_TIMEOUT)
            except KafkaException as error:
                if time.monotonic() > deadline or not error.args[0].retriable():
                    raise ClientError(f"committed offsets: {error.args[0]}") from error
            else:
                return {
                    TopicPartition(a.topic, a.partition): a.offset if a.offset >= 0 else None
                    for a in answers
                }

    def _end(self, partition: TopicPartition) -> int:
        _, end = self._call(
            self._client.get_watermark_offsets, ClientPartition(*partition), ASK_TIMEOUT
        )
        return int(end)

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except KafkaException as error:
            raise ClientError(str(error.args[0])) from error


def _sources(partitions: list[ClientPartition]) -> list[TopicPartition]:
    return [TopicPartition(partition.topic, partition.partition) for partition in partitions]


def _errors(partitions: list[ClientPartition]) -> str:
    return ", ".join(f"{p.topic}[{p.partition}]: {p.error}" for p in partitions)
