"""Which dead letters are moved, where each goes, and as what record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from worker.flow.attempts import Tried
from worker.flow.deadletter import Origin, dead_letter
from worker.flow.ledger import Ledger
from worker.flow.letters import Letter, read
from worker.flow.redrive import (
    Move,
    Redrive,
    Selection,
    Span,
    Stay,
    choices,
    drop,
    park,
    record_of,
)
from worker.settings import DeadLetterSettings
from worker.types import Failure, Message

MESSAGE = Message.of(b"dead", topic="dlq", partition=2, offset=9, key=b"N1", timestamp=7_000)
LETTER = Letter(
    MESSAGE,
    "stream-worker",
    topic="flights",
    partition=3,
    offset=42,
    group="flights.delays",
    handler="delay",
    reason="handler_error",
    error="java.lang.IllegalStateException",
    first_failure=5_000,
)
REDRIVE = Redrive({"flights.delays"}, {"flights", "elsewhere"}.__contains__, "dlq.parked", limit=3)


def why(decided: Move | Stay) -> str:
    assert isinstance(decided, Stay)
    return decided.why


@pytest.mark.parametrize(
    "kinds",
    [
        {"reasons": ["timeout", "handler_error"]},
        {"errors": ["java.lang.IllegalStateException"]},
        {"errors": ["IllegalStateException"]},
        {"handlers": ["delay"]},
        {"keys": [b"N1"]},
        {"spans": [Span(1, 0, 99), Span(2, 9, 9)]},
        {"since": 7_000},
        {"until": 7_001},
        {"reasons": ["handler_error"], "keys": [b"N1"], "since": 1, "until": 9_000},
        {},
    ],
)
def test_a_dead_letter_that_fits_all_that_is_asked_for_is_meant(kinds: dict[str, Any]) -> None:
    assert Selection(**kinds).takes(LETTER)


@pytest.mark.parametrize(
    "kinds",
    [
        {"reasons": ["timeout"]},
        {"errors": ["StateException"]},
        {"handlers": ["alerts"]},
        {"keys": [b"N2"]},
        {"spans": [Span(2, 10, 99)]},
        {"spans": [Span(3, 9, 9)]},
        {"since": 7_001},
        {"until": 7_000},
        {"reasons": ["handler_error"], "keys": [b"N2"]},
    ],
)
def test_one_that_does_not_fit_is_not_meant(kinds: dict[str, Any]) -> None:
    assert not Selection(**kinds).takes(LETTER)


def test_a_dead_letter_without_the_header_fits_nothing_that_is_asked_for() -> None:
    bare = Letter(MESSAGE)

    assert not Selection(reasons=["timeout"]).takes(bare)
    assert not Selection(errors=["ValueError"]).takes(bare)
    assert not Selection(handlers=["delay"]).takes(bare)


def test_a_dead_letter_goes_to_the_topic_that_only_its_own_group_reads() -> None:
    assert REDRIVE(LETTER) == Move("redriven", "flights.delays.redrive")


def test_one_of_a_group_that_no_pipeline_has_stays() -> None:
    assert "no pipeline has its group billing" in why(REDRIVE(replace(LETTER, group="billing")))
    assert "no group is named" in why(REDRIVE(replace(LETTER, group=None)))


def test_it_goes_back_to_its_origin_and_partition_when_that_is_allowed() -> None:
    redrive = replace(REDRIVE, to="origin")

    assert redrive(LETTER) == Move("redriven", "flights", 3)
    assert "does not name its origin secrets" in why(redrive(replace(LETTER, topic="secrets")))
    assert "origin is not named" in why(redrive(replace(LETTER, topic=None)))


def test_it_goes_to_the_topic_that_is_named() -> None:
    assert replace(REDRIVE, to="elsewhere")(LETTER) == Move("redriven", "elsewhere")


def test_one_that_was_redriven_too_often_is_parked() -> None:
    assert REDRIVE(replace(LETTER, redrives=2)) == Move("redriven", "flights.delays.redrive")
    assert REDRIVE(replace(LETTER, redrives=3)) == Move("parked", "dlq.parked")


def test_one_that_is_parked_already_is_not_parked_again() -> None:
    redrive = replace(REDRIVE, parking=None)

    assert redrive(LETTER) == Move("redriven", "flights.delays.redrive")
    assert "--max-redrives" in why(redrive(replace(LETTER, redrives=3)))


def test_one_that_has_lost_its_payload_is_never_handled_again() -> None:
    assert "cut off" in why(REDRIVE(replace(LETTER, truncated="payload")))


def test_one_whose_payload_was_kept_out_stays_and_one_that_lacks_headers_only_goes() -> None:
    without = replace(LETTER, message=Message.of(b"", topic="dlq"))

    assert "kept out" in why(REDRIVE(replace(without, redacted="value")))
    assert "kept out" in why(REDRIVE(replace(without, redacted="value,headers.a")))
    assert REDRIVE(replace(without, redacted="headers.value")) == REDRIVE(LETTER)


def test_one_that_has_its_payload_goes_though_a_mark_of_its_message_says_that_it_has_none() -> None:
    forged = dead(Message.of(b"payload", headers=[("dlq.redacted", b"value")]))

    letter = read(forged)

    assert letter.redacted == "value"
    assert isinstance(REDRIVE(replace(letter, group="flights.delays")), Move)


def test_what_was_kept_out_is_read_from_the_dead_letter() -> None:
    origin, target = Origin("g", "p", "h"), {"default": "dlq", "redact": {"value": True}}
    record = dead_letter(
        ORIGINAL,
        Failure("timeout"),
        origin,
        DeadLetterSettings.model_validate(target),
        topic="dlq",
        limit=10_000,
        tried=Tried(1, 5_000),
    )

    assert read(Message.of(record.value, headers=record.headers)).redacted == "value"


def test_anything_can_be_parked_or_dropped() -> None:
    cut = replace(LETTER, truncated="payload", group=None)

    assert park("dlq.parked")(cut) == Move("parked", "dlq.parked")
    assert drop()(cut) == Move("dropped")


ORIGINAL = Message.of(
    b"payload",
    topic="flights",
    partition=3,
    offset=42,
    key=b"N1",
    headers=[("a", None), ("a", b"")],
)


def dead(message: Message) -> Message:
    """The dead letter of a message as it is read again."""
    origin = Origin("flights.delays", "delays", "delay")
    failure = Failure("timeout", "TimeoutError")
    target = DeadLetterSettings(default="dlq")
    record = dead_letter(
        message, failure, origin, target, topic="dlq", limit=10_000, tried=Tried(1, 5_000)
    )
    return Message.of(record.value, topic="dlq", key=record.key, headers=record.headers)


def test_a_redriven_record_has_key_bytes_and_headers_and_counts_one_more() -> None:
    record = record_of(read(dead(ORIGINAL)), Move("redriven", "flights", 3))

    assert record is not None
    assert (record.topic, record.partition, record.timestamp) == ("flights", 3, None)
    assert (record.key, record.value) == (b"N1", b"payload")
    assert list(record.headers)[:2] == ORIGINAL.headers
    assert dict(record.headers)["dlq.reason"] == b"timeout"
    assert [value for name, value in record.headers if name == "dlq.redrives"] == [b"1"]


def test_a_record_that_fails_again_and_again_counts_on() -> None:
    message = ORIGINAL
    for _ in range(3):
        record = record_of(read(dead(message)), Move("redriven", "flights"))
        assert record is not None
        message = Message.of(record.value, key=record.key, headers=record.headers)

    assert read(dead(message)).redrives == 3


def test_a_tombstone_stays_one() -> None:
    record = record_of(read(dead(Message.of(None, key=b"k"))), Move("redriven", "flights"))

    assert record is not None
    assert record.value is None


def test_a_parked_record_is_the_dead_letter_as_it_was() -> None:
    message = dead(ORIGINAL)

    record = record_of(read(message), Move("parked", "dlq.parked"))

    assert record is not None
    assert (record.value, record.headers) == (message.value, message.headers)


def test_what_is_dropped_writes_no_record() -> None:
    assert record_of(LETTER, Move("dropped")) is None


def test_what_stands_in_the_ledger_is_not_chosen_again() -> None:
    messages = [
        Message.of(b"", topic="dlq", partition=p, offset=o) for p in range(2) for o in range(3)
    ]
    ledger = Ledger("id")
    for place in ((0, 1), (1, 2)):
        record = ledger.entry("dlq.ledger", place, "dropped", None, 0)
        ledger.take(record.key, record.value)

    chosen = choices(messages, ledger, Selection(spans=[Span(0, 0, 9), Span(1, 1, 9)]), drop())

    assert [letter.place for letter, _ in chosen] == [(0, 0), (0, 2), (1, 1)]
