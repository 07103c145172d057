"""The values that travel through the worker: messages in, records out, outcomes between."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, Protocol

Headers = Sequence[tuple[str, str | bytes | None]]
"""Record headers in the order of the record; names may repeat."""

Isolation = Literal["read_committed", "read_uncommitted"]
"""Whether records of open or aborted transactions are read."""

Reason = Literal[
    "handler_error", "rejected", "undecodable", "unencodable", "too_large", "timeout", "crash"
]
"""Why a message is a dead letter, as `dlq.reason` says."""


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Commit(NamedTuple):
    """What a group has committed of a partition."""

    offset: int
    """The next message to be handled."""
    metadata: str = ""
    """What is noted beside it: see `flow.envelope`."""


class RawMessage(Protocol):
    """A record as a client hands it over, and as the engine passes it on to where it is handled.

    `confluent_kafka.Message` has this shape.
    """

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> Any: ...
    def timestamp(self) -> tuple[int, int]: ...


def each(field: str, raws: Sequence[RawMessage]) -> Iterator[Any]:
    """A field of each of these records, at least one and all of one class.

    Asking the class instead of each object takes a third of the time.
    """
    return map(getattr(type(raws[0]), field), raws)


def bytes_of(raws: Sequence[RawMessage]) -> int:
    """How large these records, all of one class, are: bytes of their keys and values."""
    if not raws:
        return 0
    kind = type(raws[0])
    keys, values = filter(None, map(kind.key, raws)), filter(None, map(kind.value, raws))
    return sum(map(len, keys)) + sum(map(len, values))


class StoredMessage:
    """A record in memory, in the shape of `RawMessage`."""

    __slots__ = ("_fields",)

    def __init__(
        self,
        topic: str,
        partition: int = 0,
        offset: int = 0,
        *,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int = 0,
    ) -> None:
        self._fields = (topic, partition, offset, key, value, list(headers), timestamp)

    def topic(self) -> str:
        return self._fields[0]

    def partition(self) -> int:
        return self._fields[1]

    def offset(self) -> int:
        return self._fields[2]

    def key(self) -> bytes | None:
        return self._fields[3]

    def value(self) -> bytes | None:
        return self._fields[4]

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        return self._fields[5] or None

    def timestamp(self) -> tuple[int, int]:
        return 1, self._fields[6]


class Message:
    """A record as received; the fields are read from the client's own object when asked for."""

    __slots__ = ("_raw",)

    def __init__(self, raw: RawMessage) -> None:
        self._raw = raw

    @classmethod
    def of(
        cls,
        value: bytes | None,
        *,
        topic: str = "topic",
        partition: int = 0,
        offset: int = 0,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int = 0,
    ) -> Message:
        """Make a message by hand, for tests; `timestamp` is in milliseconds since 1970."""
        return cls(
            StoredMessage(
                topic, partition, offset, value=value, key=key, headers=headers, timestamp=timestamp
            )
        )

    @property
    def topic(self) -> str:
        """The topic that the record was read from."""
        return self._raw.topic()

    @property
    def partition(self) -> int:
        """The number of the partition that the record was read from."""
        return self._raw.partition()

    @property
    def offset(self) -> int:
        """The record's place in its partition."""
        return self._raw.offset()

    @property
    def key(self) -> bytes | None:
        """The key's bytes; None for a record without one."""
        return self._raw.key()

    @property
    def value(self) -> bytes | None:
        """The payload's bytes; None for a tombstone."""
        return self._raw.value()

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """The headers in their order; names may repeat."""
        return headers_of(self._raw) or []

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, as the producer or the broker has set it."""
        return self._raw.timestamp()[1]

    @property
    def source(self) -> TopicPartition:
        """The partition that the record was read from."""
        return TopicPartition(self.topic, self.partition)

    def __repr__(self) -> str:
        return f"Message({self.topic}[{self.partition}]@{self.offset})"


def headers_of(raw: RawMessage) -> list[tuple[str, bytes | None]] | None:
    """The headers of a record, None without any.

    There are none where a name is not UTF-8 text: the client then gives an error instead.
    """
    try:
        headers: list[tuple[str, bytes | None]] | None = raw.headers()
    except SystemError:
        return None
    return headers


class SameKey:
    """The default of `Record.key`: the key of the message that the record results from."""

    def __repr__(self) -> str:
        return "SAME_KEY"


SAME_KEY: Final = SameKey()


@dataclass(slots=True)
class Record:
    """A record to be produced.

    `value` is encoded by the pipeline's `encode`; None is a tombstone. `topic` defaults to the
    pipeline's `to`, `key` to the message's key, `partition` to the partitioner's choice and
    `timestamp` (milliseconds since 1970) to now.
    """

    value: Any
    topic: str | None = None
    key: str | bytes | SameKey | None = SAME_KEY
    headers: Headers = ()
    partition: int | None = None
    timestamp: int | None = None


@dataclass(slots=True)
class Encoded:
    """A record as it is sent; `timestamp` in milliseconds since 1970, None for now.

    As an outcome: the message was handled, and this is its one result.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None
    timestamp: int | None = None


class Delivered(NamedTuple):
    """Where a record is: what an acknowledgement says.

    Without acknowledgements (`acks: none`) nobody says where: the offset is then -1.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970, as the log has it."""


@dataclass(slots=True)
class Fetch:
    """Consecutive messages of one partition as they came out of one poll.

    `size` is in bytes: of their keys and values.
    """

    source: TopicPartition
    messages: list[RawMessage]
    size: int


@dataclass(slots=True)
class Done:
    """The message was handled; its records, none or several, are to be sent."""

    records: Sequence[Encoded]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was not handled: `reason` is one of the dead-letter reasons."""

    reason: str
    error: str = ""
    """The exception's class."""
    text: str = ""
    """The exception's text; it may hold payload, so it leaves the process only when asked for."""
    harmless: bool = False
    """Whether the text is known to hold no payload, so that it may always be shown."""
    stack: str = ""
    """Frames of the exception's traceback; empty unless asked for."""
    known_as: str = ""
    """The name in `dead_letter.by` that the exception goes by; empty where it has none there."""
    took: float | None = field(default=None, compare=False)
    """Seconds that the attempt has taken; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The message was not handled."""

    failure: Failure
    again: bool = False
    """Whether it may be tried again."""
    delay: float | None = None
    """Seconds to wait before that; None leaves it to the pipeline."""
    away: bool = False
    """Whether it says that what the pipeline's breaker stands for is away."""

    def after(self, seconds: float) -> Failed:
        """The same of an attempt that has taken so long."""
        return replace(self, failure=replace(self.failure, took=seconds))


Outcome = Encoded | Done | Failed
"""What a handler has made of a message."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The message goes to the dead-letter topic."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Skip:
    """The message is given up, counted and logged."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Stop:
    """The message cannot be given up: the pipeline stops in front of it."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The message goes to a retry topic."""

    record: Encoded
    tier: int
    lane: bytes | None = None
    """Its lane, where order is kept: those that come later go there, too."""
    failure: Failure | None = None
    """Why; None where only an earlier message of its lane has failed."""
    waits: bool = True
    """Whether it is not due at once."""


Decision = DeadLetter | Skip | Stop
"""What becomes of a message that was not handled, if it is not tried again."""

Settled = Encoded | Done | RetryLater | Decision
"""What became of a message for good; matched once, in `engine/settlement.py`."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """What the cluster says of a topic; sizes in bytes."""

    partitions: int
    max_message_bytes: int
    allowed: Collection[str] | None = field(default=None, compare=False)
    """Kafka's names of the operations that this user may do; None where the cluster is silent."""
    config: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What is configured, by Kafka's names, as far as the cluster tells."""
    replication: int | None = field(default=None, compare=False)
    """How many replicas each partition has; None where that is not told."""
    unread: str = field(default="", compare=False)
    """Why this user cannot read what is configured; empty where it is not refused."""


@dataclass(frozen=True, slots=True)
class BrokerTotals:
    """What a Kafka client and one broker have exchanged."""

    requests: int = 0
    responses: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connects: int = 0
    """Attempts to connect, in vain or not."""
    disconnects: int = 0


@dataclass(frozen=True, slots=True)
class ClientTotals:
    """What a Kafka client has done since it was made, by its own statistics."""

    requests: int = 0
    responses: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    queued: int = 0
    """Messages in the client's own queues."""
    brokers: dict[str, str] = field(default_factory=dict)
    """State of the connection per broker address."""
    round_trips: dict[str, float | None] = field(default_factory=dict)
    """Seconds that an answer took on average lately, per broker address."""
    traffic: dict[str, BrokerTotals] = field(default_factory=dict)
    """Requests, bytes and connections per broker address."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: where it is, what is wrong and what is legal."""

    file: str
    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.text}"
