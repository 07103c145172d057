"""Retry records: messages to be handled later, with headers that say what happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.flow import headers
from worker.flow.attempts import Tried
from worker.settings.topics import is_retry_topic
from worker.types import Encoded, Failure, Headers, Message, RawMessage, headers_of

PREFIX: Final = "retry."

_DUE: Final = PREFIX + "due"
_LANE: Final = PREFIX + "lane"

_NO_TIME: Final = -1
"""Kafka's timestamp of a record that has none."""


class History(NamedTuple):
    """What has happened to a message until it was read where it is now; times in milliseconds.

    Its fields are headers of a retry record, those left out that hold nothing.
    """

    topic: str
    """Where it was read first."""
    partition: int
    offset: int
    timestamp: int
    """Its time there."""
    attempts: int = 0
    """How often it has failed."""
    first_failure: int | None = None
    reason: str = ""
    """Why it has failed for the last time; empty where it has not, or where that is not known."""
    error: str = ""
    took: int | None = None
    """How long the last attempt has taken."""

    def after(self, tried: Tried, failure: Failure | None) -> History:
        """The same with the attempts where it is now; `failure` is that of the last one, if any."""
        first_failure = self.first_failure
        if first_failure is None and tried.attempts:
            first_failure = tried.first_failure
        history = self._replace(
            attempts=self.attempts + tried.attempts, first_failure=first_failure
        )
        if failure is None:
            return history
        took = None if failure.took is None else int(failure.took * 1000)
        return history._replace(reason=failure.reason, error=failure.error, took=took)


NAMES: Final = frozenset({_DUE, _LANE, *(PREFIX + name for name in History._fields)})
"""The headers of a retry record. Others that begin in the same way are those of users."""


def history_of(message: Message) -> History:
    """What the headers of a message from a retry topic say, if they say where it was read first.

    Elsewhere they are not believed: a handler may have passed them on with its result. One that is
    read for the first time has its own place, and no attempts.
    """
    return (_told(message) if is_retry_topic(message.topic) else None) or _own_place(message)


def _own_place(message: Message) -> History:
    return History(message.topic, message.partition, message.offset, message.timestamp)


def _told(message: Message) -> History | None:
    known = dict(message.headers)

    def number(name: str, least: int = 0) -> int | None:
        return headers.number(known.get(PREFIX + name), least)

    def text(name: str) -> str:
        return headers.text(known.get(PREFIX + name))

    topic, partition, offset = text("topic"), number("partition"), number("offset")
    timestamp, attempts = number("timestamp", least=_NO_TIME), number("attempts")
    if not topic or partition is None or offset is None or timestamp is None or attempts is None:
        return None
    last = number("first_failure"), text("reason"), text("error"), number("took")
    return History(topic, partition, offset, timestamp, attempts, *last)


def due_of(raw: RawMessage) -> int:
    """When a retry record may be handled, in milliseconds since 1970; 0 where it does not say."""
    return headers.number(_last(raw, _DUE)) or 0


def due(message: Message) -> int | None:
    """The same of a message; None where it does not say."""
    return headers.number(dict(message.headers).get(_DUE))


def due_first(messages: Sequence[RawMessage], now: float, delay: float) -> tuple[int, float]:
    """How many of these, the first ones, are due `now`; the next is in so many seconds.

    `now` is in seconds since 1970. A record waits no longer than its tier's `delay`, in seconds,
    from when it was written: so a shorter delay holds for what waits already, too.
    """
    for place, raw in enumerate(messages):
        due = min(due_of(raw) / 1000, raw.timestamp()[1] / 1000 + delay)
        if due > now:
            return place, due - now
    return len(messages), 0.0


def least_pause(delay: float) -> float:
    """Seconds for which a partition with what is not due is left alone at least.

    Each look fetches much that is not due, and throws it away. So messages of a tier with this
    `delay`, in seconds, may be handled a tenth of it late, and a second at most.
    """
    return min(1.0, delay / 10)


def written(raw: RawMessage) -> int:
    """When a message was written where it was read first; in milliseconds, 0 or less if unknown."""
    return history_of(Message(raw)).timestamp


def lane_of(raw: RawMessage) -> bytes | None:
    """The lane of a retry record, where order is kept."""
    return _last(raw, _LANE) or None


def _last(raw: RawMessage, name: str) -> bytes | None:
    return dict(headers_of(raw) or ()).get(name)


def retry_record(
    message: Message,
    topic: str,
    due: int,
    *,
    failure: Failure | None,
    tried: Tried,
    lane: bytes | None,
    kept: Headers | None = None,
) -> Encoded:
    """Build the record that has a message handled later, in the same partition of a retry topic.

    It has the key, bytes and headers of the message; the `retry.` headers are replaced. `due` is in
    milliseconds since 1970, `tried` its attempts where it is now, `failure` that of the last one.
    Without a failure the message only follows another one of its lane. `kept` are the headers of
    the message, where it is not to keep its own. The record's own time is left to the client: dated
    back, retention would delete it.
    """
    history = history_of(message).after(tried, failure)
    said = {name: value for name, value in history._asdict().items() if value not in (None, "")}
    ours = headers.written(PREFIX, {"due": due, **said})
    if lane is not None:
        ours[_LANE] = lane
    own = [one for one in (message.headers if kept is None else kept) if one[0] not in NAMES]
    return Encoded(
        topic, message.value, message.key, [*own, *ours.items()], partition=message.partition
    )
