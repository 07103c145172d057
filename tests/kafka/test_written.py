"""Records as lines."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.kafka.written import BadLine, as_json, from_json, key_of, message_of, object_of, plain
from worker.types import Encoded, Message

LATEST = 2**63 - 1


def parsed(**fields: object) -> Encoded:
    return from_json("t")(json.dumps(fields).encode())


def refused(line: str) -> list[str]:
    with pytest.raises(BadLine) as caught:
        from_json("t")(line.encode("utf-8", "surrogatepass"))
    return list(caught.value.problems)


def test_a_plain_line_is_the_value() -> None:
    assert plain("t", None, None)(b"\xff a\tb") == Encoded("t", b"\xff a\tb")


def test_what_is_before_the_first_separator_is_the_key() -> None:
    parse = plain("t", b"::", None)

    assert parse(b"k::v::w") == Encoded("t", b"v::w", b"k")
    assert parse(b"::") == Encoded("t", b"", b"")
    with pytest.raises(BadLine, match="it has no '::' behind a key"):
        parse(b"k:v")


def test_a_field_can_be_the_key() -> None:
    assert plain("t", None, "id")(b'{"id": 7}') == Encoded("t", b'{"id": 7}', b"7")
    assert key_of(b"[]", "id") is None


def test_an_object_says_everything_of_a_record() -> None:
    record = parsed(
        value="v",
        key={"base64": "AP8="},
        headers=[["h", "1"], ["h", None], ["b", {"base64": "AA=="}]],
        partition=3,
        timestamp=1_000,
    )

    assert record == Encoded(
        "t", b"v", b"\x00\xff", [("h", b"1"), ("h", None), ("b", b"\x00")], 3, 1_000
    )


def test_headers_may_be_an_object_and_a_time_may_be_written() -> None:
    record = parsed(value=None, headers={"a": "1"}, timestamp="1970-01-01T01:00:01+01:00")

    assert record == Encoded("t", None, None, [("a", b"1")], None, 1_000)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ([], "[]"),
        (0, "0"),
        (False, "false"),
        (12345678901234567890123, "12345678901234567890123"),
        ({"base64": "AA==", "more": 1}, '{"base64":"AA==","more":1}'),
        ("", ""),
    ],
)
def test_a_value_that_is_no_text_is_written_as_json(value: object, written: str) -> None:
    assert parsed(value=value).value == written.encode()


def test_where_a_record_was_is_passed_over() -> None:
    assert parsed(value="v", topic="other", offset=7) == Encoded("t", b"v")


@given(
    value=st.none() | st.binary(),
    key=st.none() | st.binary(),
    headers=st.lists(st.tuples(st.text("abcé", min_size=1), st.none() | st.binary()), max_size=3),
    timestamp=st.integers(1, LATEST),
)
def test_what_was_printed_of_a_record_makes_the_same_record(
    value: bytes | None,
    key: bytes | None,
    headers: list[tuple[str, bytes | None]],
    timestamp: int,
) -> None:
    record = parsed(
        value=as_json(value),
        key=as_json(key),
        headers=[[name, as_json(one)] for name, one in headers],
        partition=0,
        timestamp=timestamp,
    )

    assert (record.value, record.key, list(record.headers)) == (value, key, headers)
    assert (record.partition, record.timestamp) == (0, timestamp)


def test_all_that_is_wrong_with_a_line_is_told_at_once() -> None:
    line = """{"valeu": 1, "key": 7, "headers": {"h": 1}, "partition": -1, "timestamp": "soon",
        "nonsense": 0}"""

    problems = refused(line)

    assert [one.partition(":")[0] for one in problems] == [
        "valeu",
        "nonsense",
        "value",
        "key",
        "header 'h'",
        "partition -1 is not legal; legal are 0 and above",
        "timestamp",
    ]
    assert problems[0].endswith("did you mean value?")
    assert problems[1].endswith("legal are value, key, headers, partition, timestamp")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "it is no JSON: "),
        ("\ud800", "it is no JSON: "),
        ("[1]", "it is a list; legal is an object with value, key, headers"),
        ("null", "it is null; legal is an object"),
        ('{"value": NaN}', "NaN is no JSON"),
        ('{"value": [-1e999]}', "-1e999 is too large for a number; give the JSON as a text"),
        ('{"value": 1, "value": 2}', "value: an object has it twice"),
        ('{"value": {"a": 1, "a": 2}}', "a: an object has it twice"),
        ("[" * 100_000, "its JSON is nested too deeply"),
        ('{"value": {"base64": "A"}}', "value: 'A' is no base 64"),
        ('{"value": {"base64": 1}}', "value: 1 is no base 64"),
        ('{"value": "\\ud800"}', "value: it has half a surrogate pair; give base64"),
        ('{"value": 1, "key": true}', "key: it is true or false; legal is a text, null or"),
        ('{"value": 1, "headers": "h"}', "headers: legal is an object of names and values"),
        ('{"value": 1, "headers": [["h"]]}', "headers: legal is an object of names and values"),
        ('{"value": 1, "headers": {"": "v"}}', "the name of a header is ''"),
        ('{"value": 1, "partition": 1.5}', "partition is 1.5, which is not legal"),
        ('{"value": 1, "partition": true}', "partition is True, which is not legal"),
        ('{"value": 1, "timestamp": 0}', "timestamp is 0, which is not legal"),
        ('{"value": 1, "timestamp": "2026-01-31"}', "timestamp: '2026-01-31' is not legal"),
        (
            '{"value": 1, "timestamp": "0001-01-01T00:00:00Z"}',
            "timestamp: '0001-01-01T00:00:00Z' is not legal; legal is milliseconds since 1970, or "
            "a time after that with its zone",
        ),
    ],
)
def test_what_cannot_be_a_record_is_told_with_what_is_legal(line: str, text: str) -> None:
    (problem,) = refused(line)

    assert problem.startswith(text)


def test_bytes_are_base_64() -> None:
    packed = b64encode(bytes(range(256))).decode()

    assert parsed(value={"base64": packed}).value == bytes(range(256))


@given(
    value=st.none() | st.binary(),
    key=st.none() | st.binary(),
    headers=st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.binary()),
        max_size=3,
    ),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, LATEST),
    timestamp=st.integers(0, LATEST),
)
def test_a_message_comes_out_of_its_line_as_it_was(
    value: bytes | None,
    key: bytes | None,
    headers: list[tuple[str, bytes | None]],
    partition: int,
    offset: int,
    timestamp: int,
) -> None:
    message = Message.of(
        value,
        topic="orders",
        partition=partition,
        offset=offset,
        key=key,
        headers=headers,
        timestamp=timestamp,
    )

    found = message_of(json.dumps(object_of(message)).encode())

    assert (found.topic, found.source, found.offset) == ("orders", message.source, offset)
    assert (found.value, found.key, found.headers) == (value, key, headers)
    assert found.timestamp == timestamp


def test_a_record_without_a_time_makes_one_of_its_own_when_it_is_sent() -> None:
    line = json.dumps(object_of(Message.of(b"v", timestamp=-1))).encode()

    assert from_json("t")(line).timestamp is None
    assert message_of(line).timestamp == 0


def test_a_line_need_not_say_more_of_a_message_than_its_topic_and_its_payload() -> None:
    found = message_of(b'{"topic": "orders", "value": {"n": 1}}')

    assert (found.topic, found.partition, found.offset, found.timestamp) == ("orders", 0, 0, 0)
    assert (found.value, found.key, found.headers) == (b'{"n":1}', None, [])


def test_what_a_line_lacks_of_a_message_is_told_at_once() -> None:
    with pytest.raises(BadLine) as caught:
        message_of(b'{"topic": null, "partition": -1, "offset": true}')

    assert [one.partition(":")[0] for one in caught.value.problems] == [
        "value",
        "topic",
        "partition -1 is not legal; legal are 0 and above",
        "offset",
    ]
