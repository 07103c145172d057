"""What is told of exceptions of users: where they come from, and nothing that may be payload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from worker.engine.raised import failure_of, stack_of, text_of
from worker.flow.deadletter import STACK_LIMIT
from worker.flow.headers import TEXT_LIMIT
from worker.flow.redaction import Redaction
from worker.serdes import SERDES, decoder
from worker.settings import DeadLetterSettings

SECRET = "payload-42"
THIS_FILE = f'File "{__file__}"'


class Empty(ValueError):
    """An exception that counts as false."""

    def __len__(self) -> int:
        return 0


def raised(function: Callable[..., Any], *arguments: Any) -> BaseException:
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


def charge(payload: Any) -> None:
    check(payload)


def check(payload: Any) -> None:
    raise KeyError(payload)


def translate(payload: Any) -> None:
    try:
        charge(payload)
    except KeyError as error:
        raise Empty(payload) from error


def silence(payload: Any) -> None:
    try:
        charge(payload)
    except KeyError:
        raise Empty(payload) from None


def stumble(payload: Any) -> None:
    try:
        charge(payload)
    except KeyError:
        raise Empty(payload)  # noqa: B904 - what users write


def functions(stack: str) -> list[str]:
    """The functions and classes of a stack, as they come."""
    return [
        line.rpartition(" in ")[2] if line.startswith("  File ") else line
        for line in stack.splitlines()
        if line.startswith("  File ") or not line.startswith(" ")
    ]


def test_a_stack_names_file_line_function_and_code_and_ends_with_the_class() -> None:
    stack = stack_of(raised(charge, SECRET))

    assert functions(stack) == ["raised", "charge", "check", "KeyError"]
    assert f"{THIS_FILE}, line " in stack
    assert "    raise KeyError(payload)" in stack


@pytest.mark.parametrize("function", [charge, translate, silence, stumble])
def test_a_stack_holds_no_text_and_no_value(function: Callable[..., Any]) -> None:
    assert SECRET not in stack_of(raised(function, SECRET))


@pytest.mark.parametrize(
    ("function", "classes"),
    [
        (translate, ["KeyError", "Empty"]),
        (stumble, ["KeyError", "Empty"]),
        (silence, ["Empty"]),
    ],
)
def test_what_led_to_an_exception_comes_before_it(
    function: Callable[..., Any], classes: list[str]
) -> None:
    named = functions(stack_of(raised(function, SECRET)))

    assert [name for name in named if name in ("KeyError", "Empty")] == classes
    assert ("check" in named) == ("KeyError" in classes)


def test_of_a_group_the_first_exception_is_told() -> None:
    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(failing())

    async def failing() -> None:
        charge(SECRET)

    named = functions(stack_of(raised(asyncio.run, both())))

    assert named[-1] == "ExceptionGroup"
    assert "check" in named[: named.index("KeyError")]


def test_frames_of_the_worker_before_those_of_users_are_left_out() -> None:
    def around(value: str) -> None:
        decoder(SERDES["json"], dict)(value.encode())

    error = raised(around, "[]")
    tail = error.__traceback__.tb_next  # type: ignore[union-attr]

    assert functions(stack_of(error)) == ["raised", "around", "_json_object", "ValueError"]
    assert tail is not None
    assert functions(stack_of(error.with_traceback(tail.tb_next))) == ["ValueError"]


def test_the_end_of_a_long_stack_is_kept() -> None:
    def deeper(depth: int) -> None:
        if depth:
            other(depth - 1)
        else:
            charge(SECRET)

    def other(depth: int) -> None:
        deeper(depth)

    stack = stack_of(raised(deeper, 200))

    assert len(stack) == STACK_LIMIT
    assert functions(stack)[-3:] == ["charge", "check", "KeyError"]


def test_exceptions_that_led_to_each_other_in_a_circle_have_an_end() -> None:
    one, other = raised(charge, SECRET), raised(charge, SECRET)
    one.__cause__, other.__cause__ = other, one

    assert functions(stack_of(one))[-1] == "KeyError"


def test_a_stack_that_cannot_be_had_is_no_failure_of_its_own() -> None:
    class Odd(ValueError):
        @property
        def __traceback__(self) -> Any:  # type: ignore[override]
            raise OSError("no source")

    assert stack_of(Odd()) == "(its stack cannot be had: OSError)"


def test_a_stack_is_made_only_when_asked_for() -> None:
    error = raised(charge, SECRET)

    assert failure_of("handler_error", error, None).stack == ""
    assert failure_of("handler_error", error, DeadLetterSettings(default="dlq")).stack == ""
    asked = DeadLetterSettings(default="dlq", stack=True)
    assert failure_of("handler_error", error, asked).stack == stack_of(error)


def test_of_a_long_text_the_beginning_is_kept() -> None:
    assert text_of(ValueError("x" + "y" * 10_000)) == "x" + "y" * (TEXT_LIMIT - 1)


@pytest.mark.parametrize("before", [0, TEXT_LIMIT - 3, TEXT_LIMIT])
def test_a_secret_is_hidden_before_the_text_is_cut(before: int) -> None:
    text = text_of(ValueError("x" * before + "c4n4ry"), Redaction(["c4n4ry"]))

    assert text == ("x" * before + "***")[:TEXT_LIMIT]


def test_a_secret_that_comes_nearer_as_much_before_it_is_hidden_is_hidden_as_a_whole() -> None:
    secret = "canary-of-a-password"

    text = text_of(ValueError(f"token={'A' * 2_022} {secret}"), Redaction([secret]))

    assert text == "token=*** ***"


@pytest.mark.parametrize("length", [1_900, 64 * 1024])
def test_a_secret_that_is_longer_than_what_is_looked_at_is_hidden(length: int) -> None:
    secret = "ab" * (length // 2)

    text = text_of(ValueError("x" * 200 + secret + "yz"), Redaction([secret]))

    assert text == "x" * 200 + "***"


def test_a_secret_in_a_line_of_code_is_hidden_in_its_stack() -> None:
    error = raised(lambda: int("c4n4ry"))

    assert "c4n4ry" in stack_of(error)
    assert "c4n4ry" not in stack_of(error, Redaction(["c4n4ry"]))
