"""Lanes by what users say that messages have in common."""

from __future__ import annotations

import logging
from itertools import count

import pytest

from worker import lane
from worker.engine.lanekeys import ByFunction, ByHeader
from worker.flow.lanes import KeyLanes
from worker.handlers import BadSignature, Registry
from worker.types import Message, StoredMessage


def message(offset: int, key: bytes = b"key", **headers: bytes) -> StoredMessage:
    return StoredMessage("topic", offset=offset, key=key, headers=list(headers.items()))


def by_function(function: object) -> ByFunction:
    registry = Registry()
    registry.lane(function, name="lane")  # type: ignore[type-var]
    return ByFunction(registry.lanes["lane"])


def test_messages_with_one_value_of_a_header_are_in_one_lane() -> None:
    lanes = KeyLanes(ByHeader("tenant"))
    lanes.add([message(1, tenant=b"a"), message(2, tenant=b"a"), message(3, tenant=b"b")])

    assert [one.offset() for one in lanes.take(9)] == [1, 3]


def test_messages_without_the_header_share_no_lane() -> None:
    lanes = KeyLanes(ByHeader("tenant"))
    lanes.add([message(1), message(2, other=b"a"), message(3)])

    assert [one.offset() for one in lanes.take(9)] == [1, 2, 3]


def test_of_several_headers_of_a_name_the_last_one_counts() -> None:
    twice = StoredMessage("topic", headers=[("tenant", b"a"), ("tenant", b"b")])

    assert ByHeader("tenant").of(twice) == b"b"


def test_a_function_is_asked_once_for_each_message_since_it_may_say_something_else_then() -> None:
    numbers = count()
    lanes = KeyLanes(by_function(lambda _message: str(next(numbers))))
    lanes.add([message(1), message(2)])
    run = lanes.take(9)

    lanes.release(run, 1)
    lanes.release(lanes.take(9), 1)

    assert [one.offset() for one in run] == [1, 2]
    assert next(numbers) == 2
    assert (len(lanes), lanes._lanes) == (0, {})


class Silent(SystemExit):
    """What ends processes, and cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def leave(_message: Message) -> str:
    raise Silent


@pytest.mark.parametrize("bad", [lambda _message: 1 / 0, lambda _message: 5, leave])
def test_where_a_function_fails_the_key_counts_and_a_warning_says_so(
    bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    keys = by_function(bad)

    assert [keys.of(message(1, b"a")), keys.of(message(2, b"b"))] == [b"a", b"b"]
    (record,) = caplog.records
    assert "topic[0]@1) goes into the lane of its key: " in record.getMessage()


def test_a_warning_about_a_function_holds_no_payload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    by_function(lambda one: str(int(one.key))).of(message(1, b"secret"))

    assert caplog.text.strip().endswith("goes into the lane of its key: ValueError")


def two(message: Message, other: str) -> str:
    return other


async def later(message: Message) -> str:
    return ""


def of_text(payload: str) -> str:
    return payload


@pytest.mark.parametrize("function", [two, later, of_text, "text"])
def test_a_function_that_cannot_be_one_for_lanes_is_refused(function: object) -> None:
    with pytest.raises(BadSignature, match="takes a Message and returns a str, bytes or None"):
        lane(function)  # type: ignore[call-overload]
