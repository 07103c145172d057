"""What a client has done, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from confluent_kafka import KafkaError

from worker.errors import ClientError
from worker.kafka.failures import describe
from worker.types import ClientTotals


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """One broker as librdkafka's statistics, about a second old, have it."""

    state: str
    """`UP`, `DOWN`, `CONNECT` and so on."""
    round_trip: float | None
    """Seconds that an answer took on average lately; None when none was asked for."""


@dataclass(frozen=True, slots=True)
class ClientStats:
    """What a client has done since it was made."""

    connected: bool
    """Whether a connection is up, or the last question to the cluster was answered."""
    connect_time: datetime | None
    """When the cluster first answered."""
    messages_sent: int
    """Records that were acknowledged."""
    messages_received: int
    """Messages that a handler has handled."""
    bytes_sent: int
    """Payload of the records."""
    bytes_received: int
    """Payload of the messages."""
    errors: int
    """Records that failed, handlers that raised, and what brokers and connections reported."""
    last_error: str | None
    last_error_time: datetime | None
    active_consumers: int
    active_producers: int
    brokers: Mapping[str, BrokerStats] = field(default_factory=dict)
    """Per broker address, as the producer or else the consumer sees it."""


class Errors:
    """The errors of a client, counted; written by any thread, read by any other."""

    def __init__(self) -> None:
        self.count = 0
        self.last: str | None = None
        self.last_time: datetime | None = None

    def note(self, error: KafkaError) -> None:
        """Count what a client reported."""
        self._note(describe(error))

    def note_failure(self, error: ClientError) -> None:
        """Count what a caller was told."""
        self._note(str(error))

    def _note(self, text: str) -> None:
        self.count += 1
        self.last = text
        self.last_time = datetime.now(UTC)


def broker_stats(totals: Iterable[ClientTotals]) -> dict[str, BrokerStats]:
    """What clients say of the brokers; of two that name the same one the later counts."""
    return {
        address: BrokerStats(state, one.round_trips.get(address))
        for one in totals
        for address, state in one.brokers.items()
    }
