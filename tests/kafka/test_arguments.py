"""Arguments of the client are checked before anything is asked of the network."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any

import pytest

from worker import TopicConfig
from worker.errors import ConnectionFailed, InvalidPartition
from worker.kafka import arguments
from worker.kafka.client import Kafka
from worker.kafka.tokens import Token
from worker.types import Encoded, Message, Record

CANARY = "canary-9f31"
TOPIC_RULE = "is not legal; legal are letters, digits, '.', '_' and '-', 1 to 249"
LONE_SURROGATE = "a\ud800"
NO_UTF8 = "is a text that UTF-8 cannot write; give bytes"
LARGEST = 2**63 - 1


class NoOffset(tzinfo):
    """A zone that does not say how far it is from UTC."""

    def utcoffset(self, _when: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.fixture(scope="module")
def client() -> Iterator[Kafka]:
    """A client of brokers that are away: whatever asks them takes its time and fails."""
    with Kafka("127.0.0.1:1") as client:
        yield client


# --- the client itself ---


@pytest.mark.parametrize("given", [None, 5, b"a:1", ["a:1"]])
def test_a_client_is_made_of_a_text_or_settings(given: Any) -> None:
    with pytest.raises(TypeError, match=r"settings is .* legal is a text of brokers' addresses"):
        Kafka(given)


def test_spaces_between_addresses_are_no_part_of_them() -> None:
    with Kafka("a:1, b:2") as client:
        assert client.settings.brokers == ["a:1", "b:2"]


@pytest.mark.parametrize("given", ["nonsense", "", "a:1,", "a:65536", "a:0", "a:99999"])
def test_addresses_that_are_none_are_refused_in_a_sentence(given: str) -> None:
    with pytest.raises(ValueError, match=r"^brokers: .*; give host:port, several with") as caught:
        Kafka(given)

    assert "\n" not in str(caught.value)


def test_a_token_is_not_shown() -> None:
    assert repr(Token(CANARY, 5.0, "me")) == "Token(expires=5.0, principal='me')"


def test_a_ping_that_may_not_wait_does_not(client: Kafka) -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectionFailed):
        client.ping(0)

    assert time.monotonic() - begun < 5


# --- topics and groups ---


@pytest.mark.parametrize("name", ["a", "...", "flights.dlq", "A-1_b", "a" * 249])
def test_the_name_of_a_topic_is_taken_as_it_is(name: str) -> None:
    assert arguments.topic(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a" * 250, "a b", "a/b", "é", "a\n", "^a.*", "a\x00", LONE_SURROGATE]
)
def test_a_name_that_no_topic_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not legal") as caught:
        arguments.topic(name)

    assert str(caught.value) == f"topic {name!r} {TOPIC_RULE}"


@pytest.mark.parametrize("name", [None, 1, b"a", ["a"]])
def test_the_name_of_a_topic_is_a_text(name: object) -> None:
    with pytest.raises(TypeError, match="which is not legal; legal is a text"):
        arguments.topic(name)


@pytest.mark.parametrize(
    ("names", "expected"),
    [("a", ["a"]), (["a"], ["a"]), (("a", "b"), ["a", "b"]), (["b", "a", "b"], ["b", "a"])],
)
def test_topics_are_one_name_or_several(names: object, expected: list[str]) -> None:
    assert arguments.topics(names) == expected


@pytest.mark.parametrize("names", [None, [], (), {"a"}, {"a": 1}, 7, iter(["a"])])
def test_topics_are_at_least_one_in_an_order(names: object) -> None:
    with pytest.raises(TypeError, match="a topic's name or a list of names, at least one"):
        arguments.topics(names)


@pytest.mark.parametrize("names", ["", ["a", ""], ["a", "b c"]])
def test_each_of_several_topics_is_checked(names: object) -> None:
    with pytest.raises(ValueError, match="1 to 249"):
        arguments.topics(names)


@pytest.mark.parametrize("names", [[1], ["a", None], b"ab"])
def test_each_of_several_topics_is_a_text(names: object) -> None:
    with pytest.raises(TypeError, match="legal is a text"):
        arguments.topics(names)


@pytest.mark.parametrize("name", ["g", "flights.delays", "größe", "a b"])
def test_the_name_of_a_group_is_taken_as_it_is(name: str) -> None:
    assert arguments.group(name) == name


@pytest.mark.parametrize("name", ["", None, 1, b"g", "a\x00b", "a\nb", LONE_SURROGATE])
def test_the_name_of_a_group_is_printable(name: object) -> None:
    with pytest.raises(TypeError, match=r"group_id is .* legal is printable text, not empty"):
        arguments.group(name)


@pytest.mark.parametrize("name", ["g", "größe", "a\x1b[31m\nb", "\u202e"])
def test_a_group_that_is_there_may_have_whatever_name_kafka_takes(name: str) -> None:
    assert arguments.group_there(name) == name


@pytest.mark.parametrize("name", ["", "a\x00b", LONE_SURROGATE])
def test_a_name_that_the_client_takes_for_another_is_that_of_no_group(name: str) -> None:
    with pytest.raises(ValueError, match="legal is a text that UTF-8 can write, without NUL, not"):
        arguments.group_there(name)


# --- how a topic is made ---


@pytest.mark.parametrize(
    "given",
    [
        TopicConfig(),
        TopicConfig(1, 1),
        TopicConfig(2**31 - 1, 2**15 - 1),
        TopicConfig(config={"a": "größe", "b": 1, "c": 0.5, "d": True, "e": ""}),
    ],
)
def test_the_making_of_a_topic_is_taken_as_it_is(given: TopicConfig) -> None:
    assert arguments.topic_config(given) is given


@pytest.mark.parametrize("given", ["x", "", 3, 0, {}, TopicConfig, object()])
def test_the_making_of_a_topic_is_told_by_a_topic_config(client: Kafka, given: Any) -> None:
    with pytest.raises(TypeError, match=r"topic is .* legal is a worker\.TopicConfig"):
        client.create_topic("t", given)


@pytest.mark.parametrize("name", ["partitions", "replication_factor"])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, ValueError) for number in (0, -1, 2**40)),
        *((number, TypeError) for number in ("3", 1.5, True, False, [1])),
    ],
)
def test_partitions_and_replicas_are_counted(
    client: Kafka, name: str, number: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=rf"{name} is .* legal is a whole number from 1 to \d+, or None"):
        client.create_topic("t", TopicConfig(**{name: number}))


@pytest.mark.parametrize("config", [5, None, "a=b", [("a", "b")]])
def test_the_settings_of_a_topic_are_a_mapping(client: Kafka, config: Any) -> None:
    with pytest.raises(TypeError, match=r"config is .* legal is a mapping of Kafka's topic"):
        client.create_topic("t", TopicConfig(config=config))


@pytest.mark.parametrize("name", [5, None, b"a", "", "a\x00b", LONE_SURROGATE])
def test_the_name_of_a_topics_setting_is_printable(client: Kafka, name: Any) -> None:
    with pytest.raises(TypeError, match=r"the name of a topic setting is .* legal is printable"):
        client.create_topic("t", TopicConfig(config={name: "1"}))


@pytest.mark.parametrize("value", [None, b"1", [1], {}])
def test_the_value_of_a_topics_setting_is_a_text_a_number_or_a_bool(
    client: Kafka, value: object
) -> None:
    with pytest.raises(TypeError, match=r"config 'a' is .* legal is a text, a number or a bool"):
        client.create_topic("t", TopicConfig(config={"a": value}))


@pytest.mark.parametrize("value", [LONE_SURROGATE, "a\x00b"])
def test_the_value_of_a_topics_setting_is_a_text_that_can_be_written(
    client: Kafka, value: str
) -> None:
    with pytest.raises(ValueError, match=r"config 'a' is .* legal is a text that UTF-8 can write"):
        client.create_topic("t", TopicConfig(config={"a": value}))


# --- payload and headers ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (b"", b""),
        (b"a\x00", b"a\x00"),
        ("", b""),
        ("größe", "größe".encode()),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
    ],
)
def test_a_payload_is_bytes_and_text_becomes_them(value: object, expected: bytes | None) -> None:
    found = arguments.payload("value", value)

    assert found == expected
    assert found is None or type(found) is bytes


@pytest.mark.parametrize("value", [1, 1.5, True, {"a": 1}, [b"a"], object()])
def test_a_payload_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"key is .* legal is bytes, a text or None"):
        arguments.payload("key", value)


def test_a_text_that_utf_8_cannot_write_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match=NO_UTF8) as caught:
        arguments.payload("value", CANARY + LONE_SURROGATE)

    assert str(caught.value) == f"value {NO_UTF8}"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"a": b"1", "b": "é", "c": None}, [("a", b"1"), ("b", "é".encode()), ("c", None)]),
        ([("a", b"1"), ("a", b"2")], [("a", b"1"), ("a", b"2")]),
        (iter([("a", "")]), [("a", b"")]),
        ({"größe": bytearray(b"x")}, [("größe", b"x")]),
    ],
)
def test_headers_are_a_mapping_or_pairs_in_their_order(given: object, expected: object) -> None:
    assert list(arguments.headers(given)) == expected


@pytest.mark.parametrize("given", ["ab", b"ab", 7, object()])
def test_headers_of_another_type_are_refused(given: object) -> None:
    with pytest.raises(TypeError, match=r"headers is .* legal is a mapping or pairs of name and"):
        arguments.headers(given)


@pytest.mark.parametrize("given", [["ab"], [("a",)], [("a", b"", b"")], [["a", b""]], [None], [1]])
def test_a_header_is_a_pair(given: object) -> None:
    with pytest.raises(TypeError, match=r"a header is .* legal is a pair of name and value"):
        arguments.headers(given)


@pytest.mark.parametrize("name", ["", None, 1, b"a", "a\x00b", "a\n", "\x7f", LONE_SURROGATE])
def test_the_name_of_a_header_is_printable(name: object) -> None:
    with pytest.raises(TypeError, match=r"the name of a header is .* legal is printable text"):
        arguments.headers([(name, b"")])


@pytest.mark.parametrize("value", [1, 1.5, True, ["a"], object()])
def test_the_value_of_a_header_is_a_payload(value: object) -> None:
    with pytest.raises(TypeError, match=r"header 'a' is .* legal is bytes, a text or None"):
        arguments.headers({"a": value})


def test_the_value_of_a_header_is_a_text_that_utf_8_can_write() -> None:
    with pytest.raises(ValueError, match=f"header 'a' {NO_UTF8}"):
        arguments.headers({"a": LONE_SURROGATE})


# --- numbers and times ---


@pytest.mark.parametrize("number", [0, 1, 2**31])
def test_a_partition_is_a_number_from_0(number: int) -> None:
    assert arguments.partition(number) == number


@pytest.mark.parametrize("number", [None, True, 1.0, "1", b"1"])
def test_a_partition_is_a_whole_number(number: object) -> None:
    with pytest.raises(TypeError, match=r"partition is .* legal is a whole number from 0"):
        arguments.partition(number)


def test_a_negative_partition_is_an_invalid_one() -> None:
    with pytest.raises(InvalidPartition) as caught:
        arguments.partition(-1)

    assert str(caught.value) == "partition -1 is not legal; legal are 0 and above"
    assert not caught.value.retriable


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (None, None),
        (1, 1),
        (LARGEST, LARGEST),
        (datetime(1970, 1, 1, 0, 0, 0, 1_000, tzinfo=UTC), 1),
        (datetime(1970, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC), 1_999),
        (datetime(1970, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1))), 1_000),
    ],
)
def test_a_timestamp_is_milliseconds_or_a_time_with_its_zone(
    when: object, expected: int | None
) -> None:
    assert arguments.timestamp(when) == expected


@pytest.mark.parametrize(
    "when",
    [
        -1,
        LARGEST + 1,
        True,
        1.5,
        "2026-01-31",
        datetime(2026, 1, 31, tzinfo=NoOffset()),
        datetime(2026, 1, 31),  # noqa: DTZ001 - what is refused
        datetime(1969, 12, 31, tzinfo=UTC),
    ],
)
def test_another_timestamp_is_refused(when: object) -> None:
    with pytest.raises(TypeError, match=rf"timestamp is .* since 1970 \(1 to {LARGEST}\) or a"):
        arguments.timestamp(when)


@pytest.mark.parametrize("when", [0, datetime(1970, 1, 1, tzinfo=UTC)])
def test_the_first_moment_of_1970_is_refused_because_the_client_would_write_now(
    when: object,
) -> None:
    with pytest.raises(TypeError, match=r"timestamp is .* since 1970 \(1 to"):
        arguments.timestamp(when)


@pytest.mark.parametrize("seconds", [0, 0.0, 1, 0.25, TIMEOUT_MAX])
def test_a_time_out_is_seconds(seconds: float) -> None:
    assert arguments.timeout(seconds) == seconds


@pytest.mark.parametrize(
    "seconds", [-1, -0.001, None, True, "1", math.nan, math.inf, TIMEOUT_MAX * 2]
)
def test_a_time_out_that_nobody_can_wait_for_is_refused(seconds: object) -> None:
    with pytest.raises(TypeError, match=r"timeout is .* legal is a number of seconds from 0 to \d"):
        arguments.timeout(seconds)


TIME = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("where", [0, 7, LARGEST, "oldest", "newest", TIME])
def test_a_place_is_an_offset_a_word_or_a_time(where: object) -> None:
    assert arguments.place(where) == where


@pytest.mark.parametrize(
    "where",
    [
        -1,
        LARGEST + 1,
        True,
        1.0,
        None,
        "latest",
        "",
        b"oldest",
        TIME.replace(tzinfo=None),
        TIME.replace(tzinfo=NoOffset()),
    ],
)
def test_another_place_is_refused(where: object) -> None:
    with pytest.raises(
        TypeError, match=r"offset is .* legal is a number from 0, 'oldest', 'newest'"
    ):
        arguments.place(where)


@pytest.mark.parametrize("where", ["latest", 5, 0, None, TIME.replace(tzinfo=None)])
def test_a_time_of_which_the_offset_is_asked_is_no_offset(client: Kafka, where: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^time is .* legal is 'oldest', 'newest' or a datetime with its zone"
    ):
        client.offset("t", 0, where)


# --- records ---


@pytest.mark.parametrize("given", [None, 5, "text", b"text", {"a": 1}, Record("v", "t")])
def test_records_are_a_list_of_them(client: Kafka, given: Any) -> None:
    with pytest.raises(TypeError, match=r"records is .* legal is a list of worker\.Record"):
        client.send_many(given)


def test_a_record_is_written_as_it_is_sent() -> None:
    headers = {"h": "1"}
    given = Record("v", "t", key="k", headers=list(headers.items()), partition=2, timestamp=3)

    assert arguments.record(0, given) == Encoded("t", b"v", b"k", [("h", b"1")], 2, 3)


def test_a_record_that_says_nothing_else_has_no_key_and_no_place() -> None:
    assert arguments.record(0, Record(None, "t")) == Encoded("t", None, None, [], None, None)


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ("a", TypeError, "record 7 is 'a', which is not legal; legal is a worker.Record"),
        (Record("v"), TypeError, "record 7: topic is NoneType, which is not legal"),
        (Record("v", ""), ValueError, f"record 7: topic '' {TOPIC_RULE}"),
        (Record({}, "t"), TypeError, "record 7: value is dict, which is not legal"),
        (Record(LONE_SURROGATE, "t"), ValueError, f"record 7: value {NO_UTF8}"),
        (Record("v", "t", key=LONE_SURROGATE), ValueError, f"record 7: key {NO_UTF8}"),
        (Record("v", "t", headers=[("", b"")]), TypeError, "record 7: the name of a header"),
        (Record("v", "t", timestamp=-1), TypeError, "record 7: timestamp is -1"),
        (Record("v", "t", partition=-1), InvalidPartition, "record 7: partition -1 is not legal"),
    ],
)
def test_a_mistake_in_a_record_names_its_place_in_the_batch(
    given: object, kind: type[Exception], expected: str
) -> None:
    with pytest.raises(kind) as caught:
        arguments.record(7, given)

    assert type(caught.value) is kind
    assert str(caught.value).startswith(expected)


# --- handlers ---


def handle(message: Message) -> None:
    """Take a message."""


async def handle_later(message: Message) -> None:
    """Do nothing until it is awaited."""


async def stream_later(message: Message) -> AsyncIterator[Message]:
    """Do nothing until it is iterated over."""
    yield message


def stream(message: Message) -> Iterator[Message]:
    """Do nothing until it is iterated over."""
    yield message


class Calls:
    """A handler that is an object."""

    def __call__(self, message: Message) -> None: ...
    def method(self, message: Message) -> None: ...
    async def later(self, message: Message) -> None: ...


class CallsLater:
    """No handler, although it can be called."""

    async def __call__(self, message: Message) -> None: ...


@pytest.mark.parametrize("function", [handle, lambda _: None, Calls(), Calls().method, [].append])
def test_a_handler_is_what_can_be_called(function: Callable[[Any], object]) -> None:
    assert arguments.handler(function) is function


@pytest.mark.parametrize(
    "function",
    [
        *(None, "handle", 7),
        *(handle_later, partial(handle_later), Calls().later, CallsLater()),
        *(stream, partial(stream), stream_later),
    ],
)
def test_a_handler_of_which_a_call_runs_nothing_is_refused(function: object) -> None:
    with pytest.raises(TypeError, match=r"handler is .* legal is a function of one Message"):
        arguments.handler(function)


@pytest.mark.parametrize("name", ["assigned", "revoked", "lost"])
@pytest.mark.parametrize("function", ["x", 7, handle_later, partial(handle_later), stream])
def test_who_is_told_of_partitions_is_a_plain_function(
    client: Kafka, name: str, function: Any
) -> None:
    with pytest.raises(TypeError, match=rf"{name} is .* legal is a function of the partitions"):
        client.join_group("g", "t", print, **{name: function})


# --- all of them, before the network ---


@pytest.mark.parametrize(
    "keys",
    [
        *({"topic": topic} for topic in ("", "a b", None, b"t")),
        *({"value": value} for value in (1, LONE_SURROGATE)),
        *({"key": key} for key in (1, LONE_SURROGATE)),
        *({"headers": headers} for headers in ("a", {"": b""}, {"a": 1})),
        *({"partition": partition} for partition in ("0", -1)),
        {"timestamp": -1},
        *({"timeout": timeout} for timeout in (-1, -1.0, None, "1", math.nan, math.inf)),
    ],
)
def test_sending_checks_every_argument_before_it_asks_the_brokers(
    client: Kafka, keys: dict[str, Any]
) -> None:
    given = {"topic": "t", "value": b"", **keys}

    for send in (client.send, client.send_async):
        with pytest.raises((TypeError, ValueError, InvalidPartition), match=r"legal|UTF-8"):
            send(**given)


# --- what is shown ---


def test_a_long_text_is_shown_in_part_and_other_values_by_their_type() -> None:
    with pytest.raises(TypeError) as text:
        arguments.timeout("x" * 1000)
    with pytest.raises(TypeError) as other:
        arguments.timeout([CANARY])

    assert str(text.value).startswith(f"timeout is '{'x' * 80}', which is not legal")
    assert str(other.value).startswith("timeout is list, which is not legal")
