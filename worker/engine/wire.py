"""What crosses the pipe between a process pool and its hands: plain values, by `marshal`.

Nothing of users can cross, and both ends run the same Python.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from worker.types import (
    Done,
    Encoded,
    Failed,
    Failure,
    Headers,
    Outcome,
    RawMessage,
    StoredMessage,
    headers_of,
)


def send(connection: Connection, *values: Any) -> None:
    """Send plain values; raises `OSError` where nobody is at the other end."""
    connection.send_bytes(marshal.dumps(values))


def receive(connection: Connection) -> Sequence[Any]:
    """Wait for values; raises `EOFError` or `OSError` where nobody is at the other end."""
    values: Sequence[Any] = marshal.loads(connection.recv_bytes())  # noqa: S302 - our own process
    return values


def plain_messages(messages: Iterable[RawMessage]) -> list[Any]:
    """Messages of one partition without what they have in common."""
    return [(m.offset(), m.key(), m.value(), headers_of(m), m.timestamp()[1]) for m in messages]


def messages_of(topic: str, partition: int, plain: Iterable[Any]) -> list[RawMessage]:
    """The messages again."""
    return [
        StoredMessage(
            topic, partition, offset, key=key, value=value, headers=headers or (), timestamp=time
        )
        for offset, key, value, headers, time in plain
    ]


def plain_outcome(outcome: Outcome) -> Any:
    """A tuple for one result, a list for several, a dictionary for a failure."""
    match outcome:
        case Encoded():
            return _plain_record(outcome)
        case Done():
            return [_plain_record(record) for record in outcome.records]
        case Failed():
            return asdict(outcome)


def outcome_of(plain: Any) -> Outcome:
    """The outcome again."""
    if type(plain) is tuple:
        return Encoded(*plain)
    if type(plain) is list:
        return Done([Encoded(*record) for record in plain])
    return Failed(Failure(**plain["failure"]), plain["again"], plain["delay"], plain["away"])


def plain_contexts(contexts: Mapping[int, Headers]) -> dict[int, Any]:
    """What is known of messages, by their offsets."""
    return {offset: list(headers) for offset, headers in contexts.items()}


def _plain_record(record: Encoded) -> tuple[Any, ...]:
    """Its fields, without subclasses of `str` and `int` of users."""
    return (
        exact(record.topic),
        record.value,
        record.key,
        [(exact(name), value) for name, value in record.headers],
        None if record.partition is None else int(record.partition),
        record.timestamp,
    )


def exact(text: str) -> str:
    """The text without its class, which may be one of users."""
    return text if type(text) is str else str.__str__(text)
