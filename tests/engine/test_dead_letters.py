"""Where dead letters go and what they hold, on the memory broker."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tests.engine.rig import Rig
from worker.errors import Reject, Retry


class Order(BaseModel):
    """A payload that is checked."""

    total: int


class Unknown(Reject):
    """A rejection of users' own."""


def raising(error: BaseException) -> Any:
    def failing(payload: Any) -> None:
        raise error

    return failing


def to(**by: str) -> dict[str, Any]:
    return {"dead_letter": {"default": "dlq", "by": by}}


def letters(rig: Rig) -> dict[str, int]:
    """How many dead letters there are by topic, once everything is handled."""
    rig.step()
    assert rig.runner.failed is None
    assert rig.runner.blocked is None
    assert rig.committed() == len(rig.broker.records("source"))
    return {topic: len(rig.broker.records(topic)) for topic in ("dlq", "invalid")}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KeyError(1), "LookupError"),
        (Unknown("who"), "Unknown"),
        (Unknown("who"), "rejected"),
        (Reject("who"), "Reject"),
        (Retry(), "Retry"),
        (SystemExit(), "SystemExit"),
        (ValueError(), "handler_error"),
    ],
)
def test_a_message_goes_to_the_topic_of_the_exception_that_its_handler_raised(
    error: BaseException, name: str
) -> None:
    rig = Rig(raising(error), to(**{name: "invalid"}))
    rig.send("1")

    assert letters(rig) == {"dlq": 0, "invalid": 1}


def test_a_message_whose_exception_is_not_named_goes_to_the_default() -> None:
    rig = Rig(raising(ValueError()), to(KeyError="invalid", rejected="invalid"))
    rig.send("1")

    assert letters(rig) == {"dlq": 1, "invalid": 0}


@pytest.mark.parametrize(
    "name", ["ValidationError", "pydantic_core.ValidationError", "undecodable"]
)
def test_a_payload_that_does_not_fit_goes_to_the_topic_of_the_decoders_exception(name: str) -> None:
    def charge(order: Order) -> None:
        raise RuntimeError

    rig = Rig(charge, to(**{name: "invalid"}))
    rig.send('{"total": "much"}', '{"total": 1}')

    assert letters(rig) == {"dlq": 1, "invalid": 1}


@pytest.mark.parametrize("name", ["TypeError", "unencodable"])
def test_a_result_that_cannot_be_encoded_goes_to_the_topic_of_the_encoders_exception(
    name: str,
) -> None:
    def awkward(payload: Any) -> object:
        return [object()]

    rig = Rig(awkward, to(**{name: "invalid"}))
    rig.send("1")

    assert letters(rig) == {"dlq": 0, "invalid": 1}


def test_messages_of_a_batch_go_to_topics_of_their_own() -> None:
    def store(payloads: list[int]) -> list[Exception]:
        return [KeyError() if payload == 2 else ValueError() for payload in payloads]

    rig = Rig(store, to(KeyError="invalid"), batch=10)
    rig.send("1", "2", "3")

    assert letters(rig) == {"dlq": 2, "invalid": 1}


def test_the_limit_is_that_of_the_topic_it_goes_to() -> None:
    rig = Rig(raising(KeyError()), to(KeyError="invalid"))
    rig.limits["invalid"] = 3_500
    rig.send('"' + "x" * 2_000 + '"')

    assert letters(rig) == {"dlq": 0, "invalid": 1}
    (letter,) = rig.broker.records("invalid")
    assert dict(letter.headers)["dlq.truncated"] == b"payload"


def test_a_stack_tells_where_the_handler_failed_and_not_with_what() -> None:
    def failing(payload: Any) -> None:
        raise KeyError(payload)

    rig = Rig(failing, {"dead_letter": {"default": "dlq", "stack": True}})
    rig.send('"secret"')

    assert letters(rig) == {"dlq": 1, "invalid": 0}
    (letter,) = rig.broker.records("dlq")
    stack = (dict(letter.headers)["dlq.stack"] or b"").decode()
    assert stack.startswith(f'  File "{__file__}", line ')
    assert stack.splitlines()[-1] == "KeyError"
    assert "worker/engine" not in stack
    assert "secret" not in stack


def test_what_failed_is_grouped_by_class_with_the_last_message_as_an_example() -> None:
    rig = Rig(raising(ValueError("secret payload")), {"dead_letter": "dlq"})
    rig.send("1", "2", "no json")

    rig.step()

    assert [
        (g.became, g.reason, g.error, g.count, g.offset) for g in rig.groups.latest_first()
    ] == [
        ("dead-lettered", "undecodable", "JSONDecodeError", 1, 2),
        ("dead-lettered", "handler_error", "ValueError", 2, 1),
    ]
    assert "secret" not in str(rig.groups.latest_first())
