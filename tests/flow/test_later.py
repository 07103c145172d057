"""A retry record is its message, with headers that say what happened to it so far."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flow.test_deadletter import MESSAGE
from worker.flow.attempts import Tried
from worker.flow.headers import TEXT_LIMIT
from worker.flow.later import NAMES, History, due_of, history_of, lane_of, retry_record
from worker.settings.topics import is_retry_topic
from worker.types import Encoded, Failure, Headers, Message, StoredMessage

TIER = "flights.delays.retry.0"
NEXT = "flights.delays.retry.1"
TIMEOUT = Failure("timeout", "TimeoutError", "secret payload", stack="secret lines")
ERROR = Failure("handler_error", "ValueError", took=1.5)
ONCE = Tried(1, 5_000)
NEVER = Tried(0, 0)


def moved(
    message: Message = MESSAGE,
    topic: str = TIER,
    failure: Failure | None = TIMEOUT,
    tried: Tried = ONCE,
    *,
    lane: bytes | None = b"digest",
    kept: Headers | None = None,
) -> Encoded:
    return retry_record(message, topic, 60_000, failure=failure, tried=tried, lane=lane, kept=kept)


def read(record: Encoded, offset: int = 7) -> Message:
    """A retry record as it is read from its topic."""
    assert record.partition is not None
    return Message.of(
        record.value,
        topic=record.topic,
        partition=record.partition,
        offset=offset,
        key=record.key,
        headers=record.headers,
        timestamp=50_000,
    )


def ours(record: Encoded) -> dict[str, str | bytes | None]:
    return {name: value for name, value in record.headers if name.startswith("retry.")}


def stored(headers: Headers) -> StoredMessage:
    return StoredMessage(TIER, headers=headers)


def test_a_retry_record_has_the_bytes_key_and_headers_of_its_message() -> None:
    record = moved()

    assert (record.topic, record.value, record.key) == (TIER, b"payload", b"N1")
    assert list(record.headers)[:3] == MESSAGE.headers


def test_a_tombstone_stays_one() -> None:
    assert moved(Message.of(None, key=b"k")).value is None


def test_it_goes_to_the_same_partition_as_its_message() -> None:
    assert moved().partition == 3


def test_it_is_dated_now_so_that_retention_does_not_delete_it() -> None:
    assert moved().timestamp is None


def test_its_headers_say_when_it_is_due_where_it_came_from_and_what_happened() -> None:
    assert ours(moved()) == {
        "retry.due": b"60000",
        "retry.topic": b"flights",
        "retry.partition": b"3",
        "retry.offset": b"42",
        "retry.timestamp": b"1000",
        "retry.attempts": b"1",
        "retry.first_failure": b"5000",
        "retry.reason": b"timeout",
        "retry.error": b"TimeoutError",
        "retry.lane": b"digest",
    }


def test_one_that_only_follows_another_says_of_no_failure() -> None:
    found = ours(moved(failure=None, tried=NEVER))

    assert found["retry.attempts"] == b"0"
    assert found.keys().isdisjoint({"retry.first_failure", "retry.reason", "retry.error"})


def test_without_order_it_names_no_lane() -> None:
    assert "retry.lane" not in ours(moved(lane=None))
    assert "retry.lane" not in ours(moved(read(moved()), NEXT, lane=None))


def test_a_message_can_go_on_with_other_headers() -> None:
    record = moved(kept=[("traceparent", "00-2"), ("retry.due", "1")])

    own = [(name, value) for name, value in record.headers if not name.startswith("retry.")]
    assert own == [("traceparent", "00-2")]
    assert ours(record)["retry.due"] == b"60000"


def test_the_next_stage_adds_its_attempts_and_goes_on_saying_where_it_all_began() -> None:
    record = moved(read(moved(tried=Tried(3, 5_000))), NEXT, ERROR, Tried(2, 70_000))

    assert record.topic == NEXT
    assert record.partition == 3
    assert history_of(read(record)) == History(
        "flights", 3, 42, 1_000, 5, 5_000, "handler_error", "ValueError", 1_500
    )


def test_the_next_stage_replaces_the_headers_of_the_one_before() -> None:
    record = moved(read(moved()), NEXT, ERROR)

    names = [name for name, _ in record.headers]
    assert sorted(names) == sorted([*(name for name, _ in MESSAGE.headers), *NAMES])


def test_each_stage_tells_how_long_its_own_last_attempt_has_taken() -> None:
    failed = read(moved(read(moved()), NEXT, ERROR))

    assert history_of(failed).took == 1_500
    assert history_of(read(moved(failed, NEXT, TIMEOUT))).took is None


def test_one_that_follows_on_keeps_the_failures_that_it_had() -> None:
    before = read(moved(tried=Tried(3, 5_000)))

    assert history_of(read(moved(before, NEXT, None, NEVER))) == history_of(before)


def test_one_that_follows_first_and_fails_then_has_failed_first_then() -> None:
    before = read(moved(failure=None, tried=NEVER))

    history = history_of(read(moved(before, NEXT, ERROR, Tried(1, 70_000))))

    assert (history.attempts, history.first_failure) == (1, 70_000)
    assert (history.offset, history.timestamp) == (42, 1_000)


def test_attempts_are_not_forgotten_of_one_that_follows_after_it_has_failed() -> None:
    history = history_of(read(moved(failure=None, tried=Tried(2, 5_000))))

    assert (history.attempts, history.first_failure, history.reason) == (2, 5_000, "")


def test_texts_of_exceptions_never_go_along() -> None:
    assert "secret" not in repr(moved())


def test_a_redriven_message_keeps_the_headers_of_its_dead_letter() -> None:
    dead: Headers = [("dlq.topic", b"flights"), ("dlq.redrives", b"1")]

    record = moved(Message.of(b"", topic="flights.delays.redrive", offset=5, headers=dead))

    assert list(record.headers)[:2] == dead
    assert ours(record)["retry.topic"] == b"flights.delays.redrive"


def test_a_header_of_users_that_begins_in_the_same_way_is_theirs() -> None:
    message = Message.of(b"", topic="flights", headers=[("retry.count", b"2"), ("retry.due", b"9")])

    record = moved(read(moved(message)), NEXT)

    assert ours(record)["retry.count"] == b"2"
    assert ours(record)["retry.due"] == b"60000"


def test_a_message_that_is_read_for_the_first_time_has_its_own_place() -> None:
    assert history_of(MESSAGE) == History("flights", 3, 42, 1_000)


def test_a_message_without_a_time_goes_on_without_one() -> None:
    timeless = Message.of(b"", topic="flights", offset=42, timestamp=-1)

    assert history_of(read(moved(timeless)))[:4] == ("flights", 0, 42, -1)


def test_elsewhere_than_in_a_retry_topic_such_headers_are_not_believed() -> None:
    passed_on = Message.of(b"", topic="delays", offset=9, headers=moved().headers)

    assert history_of(passed_on) == History("delays", 0, 9, 0)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("retry.topic", b""),
        ("retry.topic", b"\xff"),
        ("retry.topic", None),
        ("retry.partition", b"three"),
        ("retry.offset", b"-1"),
        ("retry.timestamp", b"9" * 20),
        ("retry.timestamp", b"-2"),
        ("retry.attempts", b""),
        ("retry.attempts", None),
    ],
)
def test_where_one_of_the_headers_makes_no_sense_none_is_believed(
    header: str, value: bytes | None
) -> None:
    headers = [*moved().headers, (header, value)]

    found = history_of(Message.of(b"", topic=TIER, offset=7, headers=headers))

    assert found == History(TIER, 0, 7, 0)


@pytest.mark.parametrize("header", [f"retry.{name}" for name in History._fields[:5]])
def test_where_one_of_the_headers_is_missing_none_is_believed(header: str) -> None:
    headers = [one for one in moved().headers if one[0] != header]

    assert history_of(Message.of(b"", topic=TIER, headers=headers)) == History(TIER, 0, 0, 0)


@pytest.mark.parametrize("header", ["retry.first_failure", "retry.reason", "retry.error"])
def test_what_a_follower_does_not_say_may_be_garbage(header: str) -> None:
    headers = [*moved().headers, (header, b"\xff")]

    found = history_of(Message.of(b"", topic=TIER, headers=headers))

    assert (found.topic, found.attempts) == ("flights", 1)
    assert getattr(found, header.removeprefix("retry.")) in {None, ""}


@pytest.mark.parametrize(
    ("headers", "due"),
    [
        ([("retry.due", b"60000")], 60_000),
        ([("retry.due", b"1"), ("retry.due", b"2")], 2),
        ([("retry.due", b"-1")], 0),
        ([("retry.due", b"9" * 30)], 0),
        ([("retry.due", b"soon")], 0),
        ([("retry.due", None)], 0),
        ([("due", b"1")], 0),
        ([], 0),
    ],
)
def test_a_record_is_due_when_it_says_or_at_once(headers: Headers, due: int) -> None:
    assert due_of(stored(headers)) == due


@pytest.mark.parametrize(
    ("headers", "lane"),
    [
        ([("retry.lane", b"digest")], b"digest"),
        ([("retry.lane", None)], None),
        ([("retry.lane", b"")], None),
        ([("lane", b"digest")], None),
        ([], None),
    ],
)
def test_a_record_names_its_lane_where_order_is_kept(headers: Headers, lane: bytes | None) -> None:
    assert lane_of(stored(headers)) == lane


@pytest.mark.parametrize(
    ("topic", "is_one"),
    [
        ("flights.delays.retry.0", True),
        ("g.retry.19", True),
        ("g.retry.0.retry.1", True),
        (".retry.0", False),
        ("g.retry.", False),
        ("g.retry.x", False),
        ("g-retry.0", False),
        ("g.retry.0\n", False),
        ("g.redrive", False),
    ],
)
def test_retry_topics_are_known_by_their_names(topic: str, *, is_one: bool) -> None:
    assert is_retry_topic(topic) is is_one


NUMBERS = st.integers(0, 2**62)
TEXTS = st.text().flatmap(lambda text: st.sampled_from([text, text * 600]))
FAILURES = st.none() | st.builds(Failure, TEXTS, TEXTS)
TRIED = st.builds(Tried, st.integers(0, 2**31), NUMBERS)
HEADERS = st.lists(
    st.tuples(st.sampled_from([*NAMES, "dlq.topic", "retry.count", "own"]), st.none() | st.binary())
)
MESSAGES = st.builds(
    Message.of,
    st.none() | st.binary(),
    topic=st.sampled_from(["flights", "flights.delays.redrive"]),
    partition=st.integers(0, 2**31 - 1),
    offset=NUMBERS,
    key=st.none() | st.binary(),
    headers=HEADERS,
    timestamp=st.integers(-1, 2**63 - 1),
)


@given(
    message=MESSAGES,
    stages=st.lists(st.tuples(FAILURES, TRIED), min_size=1, max_size=4),
    due=NUMBERS,
    lane=st.none() | st.binary(min_size=1),
)
def test_whatever_ways_a_message_goes_nothing_of_it_is_lost(
    message: Message, stages: list[tuple[Failure | None, Tried]], due: int, lane: bytes | None
) -> None:
    at = message
    for tier, (failure, tried) in enumerate(stages):
        record = retry_record(at, f"g.retry.{tier}", due, failure=failure, tried=tried, lane=lane)
        at = read(record, tier)

    history = history_of(at)
    assert history[:4] == (message.topic, message.partition, message.offset, message.timestamp)
    assert history.attempts == sum(tried.attempts for _, tried in stages)
    failed = [tried.first_failure for _, tried in stages if tried.attempts]
    assert history.first_failure == next(iter(failed), None)
    assert (at.value, at.key, at.partition) == (message.value, message.key, message.partition)
    theirs = [header for header in message.headers if header[0] not in NAMES]
    assert [header for header in at.headers if header[0] not in NAMES] == theirs
    raw = StoredMessage("g", headers=at.headers)
    assert (due_of(raw), lane_of(raw)) == (due, lane)


@given(message=MESSAGES, headers=HEADERS, failure=FAILURES, tried=TRIED)
def test_whatever_headers_hold_they_are_read_and_written_within_their_limits(
    message: Message, headers: Headers, failure: Failure | None, tried: Tried
) -> None:
    found = Message.of(message.value, topic=TIER, headers=[*moved().headers, *headers])

    record = retry_record(found, NEXT, 1, failure=failure, tried=tried, lane=b"digest")

    names = [name for name, _ in record.headers if name in NAMES]
    assert len(names) == len(set(names))
    values = [cast("bytes", value) for name, value in record.headers if name in NAMES]
    assert all(len(value) <= TEXT_LIMIT and value.decode() is not None for value in values)
    assert history_of(read(record))[:4] == history_of(found)[:4]
    assert due_of(stored(headers)) >= 0
