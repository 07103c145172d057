"""Which messages are meant."""

from __future__ import annotations

import pytest

from worker.flow.filter import Field, Filter, field_of
from worker.types import Headers, Message


def message(
    value: bytes | None = b"{}",
    *,
    key: bytes | None = None,
    headers: Headers = (),
    partition: int = 0,
) -> Message:
    return Message.of(value, key=key, headers=headers, partition=partition)


def has(payload: bytes | None, asked: str) -> bool:
    field = field_of(asked)
    assert field is not None
    return Filter(fields=[field]).takes(message(payload))


def test_an_empty_filter_takes_everything() -> None:
    assert Filter().takes(message(None))


def test_one_of_the_keys_and_one_of_the_partitions_is_enough() -> None:
    wanted = Filter(keys={b"a", b"b"}, partitions={1, 2})

    assert wanted.takes(message(key=b"b", partition=1))
    assert not wanted.takes(message(key=b"b", partition=0))
    assert not wanted.takes(message(key=None, partition=1))


def test_every_header_has_to_be_there() -> None:
    wanted = Filter(headers=[("a", b"1"), ("b", None)])

    assert wanted.takes(message(headers=[("a", b"0"), ("b", None), ("a", b"1")]))
    assert not wanted.takes(message(headers=[("a", b"1")]))
    assert not wanted.takes(message(headers=[("a", b"0"), ("b", b"")]))


def test_every_text_has_to_be_in_the_payload() -> None:
    wanted = Filter(texts=[b"ab", b"bc"])

    assert wanted.takes(message(b"\xffabc"))
    assert not wanted.takes(message(b"ab"))
    assert not wanted.takes(message(None))


@pytest.mark.parametrize(
    ("payload", "asked"),
    [
        (b'{"status": "open"}', "status=open"),
        (b'{"status": ""}', "status="),
        (b'{"a": "b=c"}', "a=b=c"),
        (b'{"n": 7}', "n=7"),
        (b'{"n": 7.0}', "n=7"),
        (b'{"n": "7"}', "n=7"),
        (b'{"on": true}', "on=true"),
        (b'{"none": null}', "none=null"),
        (b'{"list": [1, {"a": 2}]}', 'list=[1,{"a":2}]'),
        (b'{"items": [{"id": 7}]}', "/items/0/id=7"),
        (b'{"a/b": {"m~n": "x"}}', "/a~1b/m~0n=x"),
        (b'{"": "x"}', "/=x"),
        (b'{"a.b": "x"}', "a.b=x"),
        (b'[["x"]]', "/0/0=x"),
    ],
)
def test_a_field_with_this_value_is_found(payload: bytes, asked: str) -> None:
    assert has(payload, asked)


@pytest.mark.parametrize(
    ("payload", "asked"),
    [
        (b'{"n": 1}', "n=true"),
        (b'{"on": true}', "on=1"),
        (b'{"n": 7}', "n=seven"),
        (b'{"n": 7}', "m=7"),
        (b'{"none": null}', "none="),
        (b"[1]", "/1=1"),
        (b"[1]", "/-1=1"),
        (b"[1]", "/00=1"),
        (b'"x"', "/0=x"),
        (b"no json", "a=b"),
        (None, "a=b"),
        (b"[" * 100_000, "a=b"),
    ],
)
def test_nothing_else_is(payload: bytes | None, asked: str) -> None:
    assert not has(payload, asked)


def test_all_fields_have_to_be_so() -> None:
    wanted = Filter(fields=[Field(["a"], "1"), Field(["b"], "2")])

    assert wanted.takes(message(b'{"a": 1, "b": 2}'))
    assert not wanted.takes(message(b'{"a": 1}'))


@pytest.mark.parametrize("text", ["", "name", "=value"])
def test_what_asks_for_nothing_is_no_field(text: str) -> None:
    assert field_of(text) is None
