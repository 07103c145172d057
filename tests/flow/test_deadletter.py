"""Dead letters keep the original and say what happened."""

import re
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.flow.attempts import Tried
from worker.flow.deadletter import (
    LEAST_LIMIT,
    STACK_LIMIT,
    Origin,
    dead_letter,
    first_time_of,
    is_named,
    known_as,
    size_of,
    topic_of,
)
from worker.flow.headers import TEXT_LIMIT
from worker.flow.later import NAMES as RETRY_NAMES
from worker.flow.later import retry_record
from worker.settings import DeadLetterSettings
from worker.types import Encoded, Failure, Headers, Message, StoredMessage

ORIGIN = Origin("flights.delays", "delays", "delays")
FAILURE = Failure("handler_error", "ValueError", "secret payload")
TRIED = Tried(attempts=3, first_failure=5_000)
MESSAGE = Message.of(
    b"payload",
    topic="flights",
    partition=3,
    offset=42,
    key=b"N1",
    headers=[("source", b"radar"), ("source", None), ("traceparent", b"00-1")],
    timestamp=1_000,
)


def made(
    original: Message = MESSAGE,
    failure: Failure = FAILURE,
    *,
    limit: int = 1_048_588,
    **settings: Any,
) -> Encoded:
    target = DeadLetterSettings(default="dlq", **settings)
    return dead_letter(original, failure, ORIGIN, target, topic="dlq", limit=limit, tried=TRIED)


def dlq(headers: Headers) -> dict[str, bytes | str | None]:
    return {name: value for name, value in headers if name.startswith("dlq.")}


def test_a_dead_letter_has_the_bytes_key_and_headers_of_its_message() -> None:
    letter = made()

    assert (letter.topic, letter.value, letter.key) == ("dlq", b"payload", b"N1")
    assert list(letter.headers)[:3] == MESSAGE.headers


def test_a_dead_letter_is_dated_now_so_that_retention_does_not_delete_it() -> None:
    assert made().timestamp is None


def test_its_headers_say_where_it_came_from_and_why() -> None:
    assert dlq(made().headers) == {
        "dlq.topic": b"flights",
        "dlq.partition": b"3",
        "dlq.offset": b"42",
        "dlq.timestamp": b"1000",
        "dlq.group": b"flights.delays",
        "dlq.pipeline": b"delays",
        "dlq.handler": b"delays",
        "dlq.reason": b"handler_error",
        "dlq.error": b"ValueError",
        "dlq.attempts": b"3",
        "dlq.first_failure": b"5000",
        "dlq.redrives": b"0",
    }


def test_the_text_of_an_exception_is_written_only_when_asked_for() -> None:
    assert "dlq.message" not in dlq(made().headers)
    assert dlq(made(message=True).headers)["dlq.message"] == b"secret payload"


def test_the_reason_of_a_reject_is_always_written() -> None:
    rejected = Failure("rejected", "Reject", "unknown origin", harmless=True)

    assert dlq(made(failure=rejected).headers)["dlq.message"] == b"unknown origin"


def test_the_text_of_an_exception_is_capped() -> None:
    letter = made(failure=Failure("handler_error", "E", "x" * 10_000), message=True)

    assert len(dlq(letter.headers)["dlq.message"] or b"") == 512


def test_a_text_is_not_capped_within_a_character() -> None:
    letter = made(failure=Failure("handler_error", "E", "x" + "ä" * 1_000), message=True)

    assert dlq(letter.headers)["dlq.message"] == ("x" + "ä" * 255).encode()


def test_a_stack_is_written_only_when_asked_for_and_its_end_is_kept() -> None:
    failure = Failure("handler_error", "E", stack="ä" * 10_000 + "x")

    assert "dlq.stack" not in dlq(made(failure=failure).headers)
    stack = dlq(made(failure=failure, stack=True).headers)["dlq.stack"]
    assert stack == ("ä" * 2_047 + "x").encode()


def test_headers_of_an_earlier_dead_letter_are_replaced_and_redrives_kept() -> None:
    again = Message.of(b"", headers=[("dlq.reason", b"timeout"), ("dlq.redrives", b"2")])

    headers = made(again).headers

    assert [value for name, value in headers if name == "dlq.reason"] == [b"handler_error"]
    assert dlq(headers)["dlq.redrives"] == b"2"


REDRIVEN: Headers = [
    ("dlq.topic", b"flights"),
    ("dlq.partition", b"3"),
    ("dlq.offset", b"42"),
    ("dlq.timestamp", b"1000"),
    ("dlq.reason", b"timeout"),
    ("dlq.first_failure", b"2000"),
    ("dlq.redrives", b"1"),
]


def test_one_that_fails_again_still_says_where_it_was_read_at_first_and_when_it_failed() -> None:
    again = Message.of(b"", topic="flights.delays.redrive", offset=7, headers=REDRIVEN)

    found = dlq(made(again).headers)

    assert [found[f"dlq.{name}"] for name in ("topic", "partition", "offset", "timestamp")] == [
        b"flights",
        b"3",
        b"42",
        b"1000",
    ]
    assert found["dlq.first_failure"] == b"2000"
    assert (found["dlq.reason"], found["dlq.redrives"]) == (b"handler_error", b"1")


def test_elsewhere_than_in_the_topic_of_redriven_ones_such_headers_are_not_believed() -> None:
    found = dlq(made(Message.of(b"", topic="flights", offset=7, headers=REDRIVEN)).headers)

    assert (found["dlq.offset"], found["dlq.first_failure"]) == (b"7", b"5000")


def test_numbers_that_make_no_sense_are_not_kept_of_an_earlier_dead_letter() -> None:
    forged: Headers = [
        ("dlq.offset", b"x" * 5_000),
        ("dlq.partition", b"9" * 20),
        ("dlq.topic", b""),
    ]
    again = Message.of(b"", topic="flights.delays.redrive", offset=7, headers=forged)

    found = dlq(made(again).headers)

    assert (found["dlq.topic"], found["dlq.partition"]) == (b"flights.delays.redrive", b"0")
    assert found["dlq.offset"] == b"7"


TIER = "flights.delays.retry.1"


def later(message: Message = MESSAGE, tried: Tried = Tried(4, 2_000)) -> Message:  # noqa: B008
    """A message as it is read from a retry topic."""
    failure = Failure("timeout", "TimeoutError")
    record = retry_record(message, TIER, 60_000, failure=failure, tried=tried, lane=b"digest")
    return Message.of(
        record.value,
        topic=TIER,
        partition=message.partition,
        offset=7,
        key=record.key,
        headers=record.headers,
        timestamp=50_000,
    )


def test_one_from_a_retry_topic_says_where_it_was_read_first_and_all_its_attempts() -> None:
    found = dlq(made(later()).headers)

    assert [found[f"dlq.{name}"] for name in ("topic", "partition", "offset", "timestamp")] == [
        b"flights",
        b"3",
        b"42",
        b"1000",
    ]
    assert (found["dlq.attempts"], found["dlq.first_failure"]) == (b"7", b"2000")
    assert (found["dlq.reason"], found["dlq.error"]) == (b"handler_error", b"ValueError")


def test_one_from_a_retry_topic_has_the_headers_of_its_message_and_none_of_retries() -> None:
    headers = made(later()).headers

    assert list(headers)[:3] == MESSAGE.headers
    assert not [name for name, _ in headers if name.startswith("retry.")]


def test_one_that_followed_without_a_failure_has_failed_first_where_it_failed() -> None:
    found = dlq(made(later(tried=Tried(0, 0))).headers)

    assert (found["dlq.attempts"], found["dlq.first_failure"]) == (b"3", b"5000")


def test_a_redriven_one_from_a_retry_topic_still_says_where_it_was_read_at_first() -> None:
    again = Message.of(b"", topic="flights.delays.redrive", offset=9, headers=REDRIVEN)

    found = dlq(made(later(again)).headers)

    assert (found["dlq.topic"], found["dlq.offset"]) == (b"flights", b"42")
    assert (found["dlq.timestamp"], found["dlq.first_failure"]) == (b"1000", b"2000")
    assert (found["dlq.attempts"], found["dlq.redrives"]) == (b"7", b"1")


def test_retry_headers_of_a_message_from_elsewhere_are_its_own() -> None:
    passed_on = Message.of(b"", topic="delays", offset=9, headers=later().headers)

    headers = made(passed_on).headers

    assert [header for header in headers if not header[0].startswith("dlq.")] == passed_on.headers
    assert (dlq(headers)["dlq.topic"], dlq(headers)["dlq.attempts"]) == (b"delays", b"3")


@pytest.mark.parametrize(
    ("message", "time"),
    [
        (MESSAGE, 1_000),
        (later(), 1_000),
        (Message.of(b"", topic=TIER, timestamp=50_000), 50_000),
        (Message.of(b"", topic="g.redrive", headers=REDRIVEN, timestamp=50_000), 1_000),
        (Message.of(b"", topic="g.redrive", timestamp=50_000), 50_000),
        (later(Message.of(b"", topic="g.redrive", headers=REDRIVEN, timestamp=40_000)), 1_000),
        (later(Message.of(b"", topic="g.redrive", timestamp=40_000)), 40_000),
        (later(Message.of(b"", topic="flights", headers=REDRIVEN, timestamp=40_000)), 40_000),
        (Message.of(b"", topic="flights", headers=REDRIVEN, timestamp=50_000), 50_000),
        (Message.of(b"", topic="flights", headers=later().headers, timestamp=50_000), 50_000),
    ],
)
def test_the_first_time_of_a_message_is_that_of_where_it_was_read_first(
    message: Message, time: int
) -> None:
    raw = StoredMessage(message.topic, headers=message.headers, timestamp=message.timestamp)

    assert first_time_of(raw) == time


class Unread(StoredMessage):
    """A record whose headers nobody may ask for."""

    def headers(self) -> NoReturn:
        raise AssertionError("headers were read")


def test_for_the_time_of_a_message_from_a_source_its_headers_are_not_read() -> None:
    assert first_time_of(Unread("flights", headers=REDRIVEN, timestamp=50_000)) == 50_000


def test_a_payload_too_large_even_for_the_dead_letter_topic_is_left_out() -> None:
    letter = made(Message.of(b"x" * 5_000, key=b"k", headers=[("a", b"b")]), limit=1_000)

    assert letter.value == b""
    assert letter.key == b"k"
    assert ("a", b"b") in letter.headers
    assert dlq(letter.headers)["dlq.truncated"] == b"payload"
    assert size_of(letter) <= 1_000


def test_headers_and_key_are_left_out_too_when_they_alone_are_too_large() -> None:
    letter = made(Message.of(b"", key=b"k" * 5_000, headers=[("a", b"b" * 5_000)]), limit=1_000)

    assert letter.key is None
    assert dlq(letter.headers)["dlq.truncated"] == b"headers,key"
    assert size_of(letter) <= 1_000


def test_the_stack_is_left_out_before_anything_of_the_message_is() -> None:
    failure = Failure("handler_error", "E", stack="x" * 2_000)

    letter = made(failure=failure, stack=True, limit=1_000)

    assert (letter.value, letter.key) == (b"payload", b"N1")
    assert {"dlq.stack", "dlq.truncated"}.isdisjoint(dlq(letter.headers))


@pytest.mark.parametrize("size", [1, 5_000])
def test_a_tombstone_stays_a_tombstone_whatever_is_left_out(size: int) -> None:
    letter = made(Message.of(None, headers=[("a", b"b" * size)]), limit=1_000)

    assert letter.value is None
    assert dlq(letter.headers).get("dlq.truncated") == (b"headers" if size > 1 else None)


TEXTS = st.one_of(
    st.text(), st.text(st.characters()), st.sampled_from(["\ud800", "ä", "x"])
).flatmap(lambda text: st.sampled_from([text, text * 5_000]))
BYTES = st.binary().flatmap(lambda data: st.sampled_from([data, data * 5_000]))
OURS = sorted({*RETRY_NAMES, *(name for name, _ in REDRIVEN)})
NAMES = st.text(st.characters(codec="utf-8"), min_size=1)


def is_replaced(header: str, topic: str) -> bool:
    return header.startswith("dlq.") or (topic == TIER and header in RETRY_NAMES)


@given(
    topic=st.sampled_from(["t" * 249, TIER, "\U00010000" * 249 + ".redrive"]),
    value=st.none() | BYTES,
    key=st.none() | BYTES,
    headers=st.lists(st.tuples(NAMES | st.sampled_from(OURS), st.none() | BYTES)),
    texts=st.tuples(TEXTS, TEXTS, TEXTS),
    handler=TEXTS,
    patterns=st.sampled_from([[], ["*"]]),
    limit=st.integers(LEAST_LIMIT, 20_000),
)
def test_no_dead_letter_is_larger_than_its_topic_takes_and_says_what_it_lacks(
    topic: str,
    value: bytes | None,
    key: bytes | None,
    headers: list[tuple[str, bytes | None]],
    texts: tuple[str, str, str],
    handler: str,
    patterns: list[str],
    limit: int,
) -> None:
    error, text, stack = texts
    message = Message.of(
        value,
        topic=topic,
        partition=2**31,
        offset=2**63,
        timestamp=2**63,
        key=key,
        headers=headers,
    )
    letter = dead_letter(
        message,
        Failure("handler_error", error, text, stack=stack),
        Origin("\U00010000" * 249, "p" * 100, handler),
        DeadLetterSettings.model_validate(
            {
                "default": "dlq",
                "stack": True,
                "message": True,
                "redact": {"headers": patterns},
            }
        ),
        topic="dlq",
        limit=limit,
        tried=Tried(2**31, 2**63),
    )

    assert size_of(letter) <= limit
    lacking = str(dlq(letter.headers).get("dlq.truncated", b""))
    assert ("payload" in lacking) == (letter.value != value)
    assert ("key" in lacking) == (letter.key != key)
    own = [header for header in letter.headers if not header[0].startswith("dlq.")]
    headers = [one for one in headers if not is_replaced(one[0], topic)]
    gone = patterns and headers
    assert ("dlq.redacted" in dlq(letter.headers)) == bool(gone)
    assert own == [] if gone else ("headers" in lacking) == (own != headers)
    for name, content in dlq(letter.headers).items():
        assert isinstance(content, bytes)
        assert content.decode() is not None
        assert len(content) <= (STACK_LIMIT if name == "dlq.stack" else TEXT_LIMIT)


def test_a_text_that_is_no_unicode_does_not_keep_the_dead_letter_from_being_written() -> None:
    letter = made(failure=Failure("handler_error", "E", "a\ud800"), message=True)

    assert dlq(letter.headers)["dlq.message"] == b"a\\ud800"


class Missing(KeyError):
    """An error of users' own."""


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["Missing"], "Missing"),
        (["tests.flow.Missing"], "tests.flow.Missing"),
        (["LookupError"], "LookupError"),
        (["LookupError", "KeyError"], "KeyError"),
        (["Exception", "Missing", "KeyError"], "Missing"),
        (["Missing", "tests.Missing"], "tests.Missing"),
        (["tests.Missing", "Missing"], "tests.Missing"),
        (["ValueError", "missing"], ""),
        ([], ""),
    ],
)
def test_an_exception_goes_by_the_most_precise_name_of_the_class_nearest_to_its_own(
    names: list[str], known: str
) -> None:
    assert known_as(Missing, names) == known


@pytest.mark.parametrize(
    ("failure", "topic"),
    [
        (Failure("handler_error", "Missing", known_as="KeyError"), "keys"),
        (Failure("handler_error", "ValueError"), "default"),
        (Failure("rejected", "Gone", known_as="KeyError"), "keys"),
        (Failure("rejected", "Reject"), "rejections"),
        (Failure("crash"), "default"),
        (Failure("timeout"), "slow"),
    ],
)
def test_a_dead_letter_goes_to_the_topic_of_its_exception_else_of_its_reason_else_the_default(
    failure: Failure, topic: str
) -> None:
    by = {"KeyError": "keys", "rejected": "rejections", "OSError": "slow"}

    assert topic_of(DeadLetterSettings(default="default", by=by), failure) == topic


def test_a_timeout_goes_by_its_reason_where_no_exception_is_named() -> None:
    target = DeadLetterSettings(default="default", by={"timeout": "slow"})

    assert topic_of(target, Failure("timeout")) == "slow"


HEADERS: Headers = [
    ("Authorization", b"token"),
    ("x-user", b"me"),
    ("x-user", None),
    ("traceparent", b"00-1"),
    ("dlq.reason", b"timeout"),
]


def redacted(message: Message, **redact: Any) -> Encoded:
    return made(message, redact=redact)


def test_a_payload_is_left_out_where_that_is_asked_for_and_a_mark_says_so() -> None:
    letter = redacted(Message.of(b"secret", key=b"k", headers=HEADERS), value=True)

    assert (letter.value, letter.key) == (b"", b"k")
    assert [header for header in letter.headers if not header[0].startswith("dlq.")] == HEADERS[:4]
    assert dlq(letter.headers)["dlq.redacted"] == b"value"
    assert "dlq.truncated" not in dlq(letter.headers)


def test_headers_are_left_out_by_name_and_a_mark_names_each_once() -> None:
    letter = redacted(Message.of(b"v", headers=HEADERS), headers=["authorization", "x-*"])

    assert letter.value == b"v"
    assert [header for header in letter.headers if not header[0].startswith("dlq.")] == [
        ("traceparent", b"00-1")
    ]
    assert dlq(letter.headers)["dlq.redacted"] == b"headers.Authorization,headers.x-user"


@pytest.mark.parametrize("value", [None, b""])
def test_nothing_is_marked_where_nothing_was_left_out(value: bytes | None) -> None:
    letter = redacted(Message.of(value, headers=HEADERS), value=True, headers=["cookie"])

    assert letter.value == value
    assert "dlq.redacted" not in dlq(letter.headers)


def test_a_header_that_is_added_is_left_out_like_others() -> None:
    target = DeadLetterSettings.model_validate({"default": "d", "redact": {"headers": ["trace*"]}})
    letter = dead_letter(
        Message.of(b""),
        FAILURE,
        ORIGIN,
        target,
        topic="dlq",
        limit=10_000,
        tried=TRIED,
        kept=[("tracestate", "a=b")],
    )

    assert "tracestate" not in dict(letter.headers)
    assert dlq(letter.headers)["dlq.redacted"] == b"headers.tracestate"


def test_a_message_that_comes_again_without_its_payload_keeps_the_mark() -> None:
    again = Message.of(b"", headers=[("dlq.redacted", b"value,headers.a"), ("b", b"")])

    assert dlq(made(again).headers)["dlq.redacted"] == b"value,headers.a"
    marks = dlq(redacted(again, headers=["a", "b"]).headers)["dlq.redacted"]
    assert marks == b"value,headers.a,headers.b"


def test_the_mark_of_the_payload_is_first_so_that_it_is_never_cut_off() -> None:
    earlier = "headers." + "x" * 600
    again = Message.of(b"secret", headers=[("dlq.redacted", earlier.encode())])

    marks = dlq(redacted(again, value=True).headers)["dlq.redacted"]

    assert marks == f"value,{earlier}"[:512].encode()


@pytest.mark.parametrize(
    ("pattern", "header", "named"),
    [
        ("x-*", "X-Request", True),
        ("x-*", "x-", True),
        ("x-*", "ax-b", False),
        ("*-token", "api-token", True),
        ("*", "", True),
        ("*", "a\nb", True),
        ("A.b", "axb", False),
        ("x-*-y", "x--y", True),
        ("x-*-y", "x-y", False),
        ("x-*-*-y", "x---y", True),
        ("x-*-*-y", "x-a-y", False),
        ("*a*b*", "xaxbx", True),
        ("*a*b*", "b-a", False),
        ("**", "", True),
        ("aba*ba", "aba", False),
        ("größe-*", "GRÖSSE-A", False),
        ("größe-*", "GRÖßE-A", True),
        ("x\u212a*", "XK", True),
        ("[ab]", "a", False),
        ("a?", "ab", False),
        ("authorization", "authorization2", False),
    ],
)
def test_a_pattern_names_whole_names_of_headers_in_whatever_case(
    pattern: str, header: str, *, named: bool
) -> None:
    assert is_named(header, [pattern]) is named
    assert is_named(header, ["other", pattern]) is named
    assert not is_named(header, [])


@given(st.text("aAb*-\u017fS"), st.text("aAb-\ns\u017f", max_size=30))
def test_a_pattern_names_what_its_expression_matches(pattern: str, header: str) -> None:
    expression = re.escape(pattern).replace(r"\*", ".*")
    matched = re.fullmatch(expression, header, re.IGNORECASE | re.DOTALL) is not None

    assert is_named(header, [pattern]) is matched


def test_a_long_header_takes_steps_by_its_length_however_many_stars_a_pattern_has() -> None:
    assert not is_named("a" * 100_000, ["*a" * 20 + "*b"])
