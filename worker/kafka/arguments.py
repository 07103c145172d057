"""Arguments of the client, checked before anything is asked of the network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import TIMEOUT_MAX
from typing import Any, Final

from pydantic import ValidationError

from worker.errors import InvalidPartition
from worker.kafka.topics import TopicConfig
from worker.ports import Place
from worker.settings import KafkaSettings
from worker.types import Encoded, Headers, Record, SameKey

HeaderValue = str | bytes | None
HeadersGiven = Mapping[str, HeaderValue] | Iterable[tuple[str, HeaderValue]]
"""Headers by name, or pairs of which names may repeat."""

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")
"""The client cuts a name at NUL and crashes the process at half a surrogate pair."""
_WRITABLE: Final = re.compile(r"[^\x00\ud800-\udfff]*")
_NO_TEXT: Final = "legal is a text that UTF-8 can write, without NUL"
_LARGEST: Final = 2**63 - 1
"""Offsets and timestamps are of 64 bits."""
_LATER: Final = (iscoroutinefunction, isasyncgenfunction, isgeneratorfunction)
"""Kinds of functions of which a call runs nothing."""
_MOST_PARTITIONS: Final = 2**31 - 1
_MOST_REPLICAS: Final = 2**15 - 1
"""What Kafka's protocol has room for."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def settings(given: object) -> KafkaSettings:
    """Settings of a client, or the addresses of its brokers as a text."""
    if isinstance(given, KafkaSettings):
        return given
    if not isinstance(given, str):
        legal = "a text of brokers' addresses such as 'one:9092, two:9092', or KafkaSettings"
        raise _wrong("settings", given, legal)
    try:
        return KafkaSettings.model_validate({"brokers": given})
    except ValidationError as error:
        told = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        raise ValueError(f"brokers: {told}; give host:port, several with commas") from None


def topic(name: object) -> str:
    """A topic's name; raises TypeError or ValueError."""
    if not isinstance(name, str):
        raise _wrong("topic", name, "a text")
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError(
            f"topic {name!r} is not legal; legal are letters, digits, '.', '_' and '-', 1 to 249"
        )
    return name


def topics(names: object) -> list[str]:
    """Names of topics, at least one, given alone or as a sequence."""
    if isinstance(names, str):
        return [topic(names)]
    if not isinstance(names, Sequence) or not names:
        raise _wrong("topics", names, "a topic's name or a list of names, at least one")
    return list(dict.fromkeys(topic(name) for name in names))


def topic_config(given: object) -> TopicConfig:
    """How a topic is made; raises TypeError or ValueError for what the client takes for another."""
    if not isinstance(given, TopicConfig):
        raise _wrong("topic", given, "a worker.TopicConfig")
    _count("partitions", given.partitions, _MOST_PARTITIONS)
    _count("replication_factor", given.replication_factor, _MOST_REPLICAS)
    if not isinstance(given.config, Mapping):
        raise _wrong("config", given.config, "a mapping of Kafka's topic settings")
    settings: Mapping[object, object] = given.config  # type: ignore[assignment]
    for name, value in settings.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _wrong("the name of a topic setting", name, "printable text, not empty")
        if not isinstance(value, (str, int, float)):
            raise _wrong(f"config {name!r}", value, "a text, a number or a bool")
        if isinstance(value, str) and not _WRITABLE.fullmatch(value):
            raise ValueError(f"config {name!r} is {value[:80]!r}, which is not legal; {_NO_TEXT}")
    return given


def group(name: object) -> str:
    """The name of a consumer group."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong("group_id", name, "printable text, not empty")
    return name


def group_there(name: str) -> str:
    """The name of a group that others may have made: Kafka takes whatever text."""
    if not name or not _WRITABLE.fullmatch(name):
        raise ValueError(f"group {name[:80]!r} is not legal; {_NO_TEXT}, not empty")
    return name


def payload(what: str, value: object) -> bytes | None:
    """A key or a value; text is written as UTF-8."""
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} is a text that UTF-8 cannot write; give bytes") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise _wrong(what, value, "bytes, a text or None")


def headers(given: object) -> Headers:
    """Headers as pairs, from a mapping or from pairs, whose names may repeat."""
    if given is None:
        return ()
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise _wrong("headers", given, "a mapping or pairs of name and value")
    pairs = given.items() if isinstance(given, Mapping) else given
    return [_header(pair) for pair in pairs]


def partition(number: object) -> int:
    """The number of a partition; raises `InvalidPartition` for a negative one."""
    if type(number) is not int:
        raise _wrong("partition", number, "a whole number from 0")
    if number < 0:
        raise InvalidPartition(f"partition {number} is not legal", advice="legal are 0 and above")
    return number


def timestamp(when: object) -> int | None:
    """Milliseconds since 1970, from such a number or a time with its zone; 0 would be now."""
    if when is None:
        return None
    if isinstance(when, datetime) and when.utcoffset() is not None:
        found = (when - _EPOCH) // timedelta(milliseconds=1)
    else:
        found = when if type(when) is int else 0
    if not 0 < found <= _LARGEST:
        legal = f"milliseconds since 1970 (1 to {_LARGEST}) or a datetime with its zone after that"
        raise _wrong("timestamp", when, legal)
    return found


def timeout(seconds: object) -> float:
    """Seconds to wait."""
    if type(seconds) not in (int, float) or not 0 <= seconds <= TIMEOUT_MAX:  # type: ignore[operator]
        raise _wrong("timeout", seconds, f"a number of seconds from 0 to {TIMEOUT_MAX:.0f}")
    return seconds  # type: ignore[return-value]


def place(where: object) -> int | Place:
    """An offset, `oldest`, `newest`, or a time with its zone."""
    if (type(where) is int and 0 <= where <= _LARGEST) or where in ("oldest", "newest"):
        return where
    if isinstance(where, datetime) and where.utcoffset() is not None:
        return where
    raise _wrong("offset", where, "a number from 0, 'oldest', 'newest' or a datetime with its zone")


def moment(where: object) -> Place:
    """`oldest`, `newest`, or a time with its zone."""
    if where == "oldest" or where == "newest":  # noqa: PLR1714 - narrows the type
        return where
    if isinstance(where, datetime) and where.utcoffset() is not None:
        return where
    raise _wrong("time", where, "'oldest', 'newest' or a datetime with its zone")


def record(index: int, given: object) -> Encoded:
    """A record of a batch, which names its topic; mistakes name its place."""
    if not isinstance(given, Record):
        raise _wrong(f"record {index}", given, "a worker.Record")
    key = None if isinstance(given.key, SameKey) else given.key
    try:
        return Encoded(
            topic(given.topic),
            payload("value", given.value),
            payload("key", key),
            headers(given.headers),
            None if given.partition is None else partition(given.partition),
            timestamp(given.timestamp),
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"record {index}: {error}") from None
    except InvalidPartition as error:
        raise InvalidPartition(f"record {index}: {error.text}", advice=error.advice) from None


def records(given: object) -> list[Encoded]:
    """The records of a batch."""
    if isinstance(given, (str, bytes, bytearray, Mapping)) or not isinstance(given, Iterable):
        raise _wrong("records", given, "a list of worker.Record")
    return [record(index, one) for index, one in enumerate(given)]


def handler(function: object) -> Callable[[Any], object]:
    """A plain function of one message."""
    return _plain("handler", function, "a function of one Message; async ones are for pipelines")


def listener(what: str, function: object) -> Callable[[Any], object] | None:
    """A plain function that is told of partitions, or None."""
    if function is None:
        return None
    return _plain(what, function, "a function of the partitions, not async, or None")


def _plain(what: str, function: object, legal: str) -> Callable[[Any], object]:
    calls = (function, getattr(type(function), "__call__", None))  # noqa: B004 - not whether
    if not callable(function) or any(runs_later(call) for runs_later in _LATER for call in calls):
        raise _wrong(what, function, legal)
    return function


def _count(what: str, number: object, most: int) -> None:
    if number is None or (type(number) is int and 1 <= number <= most):
        return
    legal = f"a whole number from 1 to {most}, or None for the cluster's default"
    if type(number) is int:
        raise ValueError(f"{what} is {number}, which is not legal; legal is {legal}")
    raise _wrong(what, number, legal)


def _header(pair: object) -> tuple[str, HeaderValue]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise _wrong("a header", pair, "a pair of name and value")
    name, value = pair
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong("the name of a header", name, "printable text, not empty")
    return name, payload(f"header {name!r}", value)


def _wrong(what: str, value: object, legal: str) -> TypeError:
    shown = repr(value) if isinstance(value, (int, float)) else type(value).__name__
    if isinstance(value, str):
        shown = repr(value[:80])
    return TypeError(f"{what} is {shown}, which is not legal; legal is {legal}")
