"""Payloads against what is wanted of them, and records that faults mean."""

from __future__ import annotations

from typing import Any

import pytest

from worker.testing import At
from worker.testing.matching import differences, equals, holds
from worker.types import Encoded, Message


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ({"a": 1}, b'{"a": 1}', (True, True)),
        ({"a": 1}, b'{"a": 1, "b": 2}', (True, False)),
        ({"a": {"b": 1}}, b'{"a": {"b": 1, "c": 2}}', (True, False)),
        ({"a": 1}, b'{"a": true}', (False, False)),
        ({"a": 1}, b"[1]", (False, False)),
        ([{"a": 1}], b'[{"a": 1, "b": 2}]', (True, False)),
        ([1], b"[1, 2]", (False, False)),
        ("late", b"very late", (True, False)),
        ({"a": "late"}, b'{"a": "very late"}', (True, False)),
        ("text", b"text", (True, True)),
        ("text", b'"text"', (True, True)),
        ('{"a": 1}', b'{"a": 1}', (True, True)),
        (1, b"1", (True, True)),
        (None, None, (True, True)),
        (None, b"null", (True, True)),
        ({"base64": "/w=="}, b"\xff", (True, True)),
    ],
)
def test_a_payload_is_what_is_wanted_or_has_it_in_it(
    wanted: Any, found: bytes | None, expected: tuple[bool, bool]
) -> None:
    assert (holds(wanted, found), equals(wanted, found)) == expected


def test_each_difference_is_told_with_where_it_is() -> None:
    wanted = {"a": [1, {"b": "x"}], "c": 3, "d": {"e": 1}}
    found = {"a": [1, {"b": "y"}], "d": {"e": 1, "f": 2}, "g": 0}

    assert list(differences(wanted, found, part=False)) == [
        (("a", 1, "b"), '"y" instead of "x"'),
        (("c",), "is missing"),
        (("d",), "has 'f', too: 2"),
        ((), "has 'g', too: 0"),
    ]


def test_what_is_there_too_is_told_in_its_own_order() -> None:
    found = dict.fromkeys("hgfedcba")

    told = [text for _, text in differences({}, found, part=False)]

    assert told == [f"has {key!r}, too: null" for key in "hgfedcba"]


MEANT = [
    At(),
    At("orders", key="a", partition=1, offset=7),
    At(value={"n": 1}),
    At(headers={"tenant": "t"}),
]
NOT_MEANT = [
    At(whole={"n": 1}),
    At(headers={"tenant": "other"}),
    At("other"),
    At(key="b"),
    At(partition=0),
    At(offset=8),
]


def test_a_message_is_meant_by_all_that_is_said_of_it() -> None:
    message = Message.of(
        b'{"n": 1, "m": 2}',
        topic="orders",
        partition=1,
        offset=7,
        key=b"a",
        headers=[("tenant", b"t"), ("more", b"")],
    )

    assert [at for at in MEANT if not at.holds(message)] == []
    assert [at for at in NOT_MEANT if at.holds(message)] == []


def test_a_message_in_a_retry_topic_is_meant_by_where_it_was_read_first() -> None:
    headers = {"topic": b"orders", "partition": b"1", "offset": b"7", "timestamp": b"0"}
    named = [(f"retry.{name}", value) for name, value in {**headers, "attempts": b"1"}.items()]
    waiting = Message.of(b"", topic="shop.orders.retry.0", offset=99, headers=named)

    assert At("orders", partition=1, offset=7).holds(waiting)
    assert not At("shop.orders.retry.0").holds(waiting)


def test_a_record_that_is_to_be_written_has_no_offset_yet() -> None:
    record = Encoded("done", b"1", b"a")

    assert At("done", key="a").holds_for(record)
    assert not At("done", offset=0).holds_for(record)
