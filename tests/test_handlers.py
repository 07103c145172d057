"""What may be a handler or a resource, and what is said of the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import worker
from worker.handlers import BadSignature, Registry, load
from worker.types import Message

WORKER = Path(worker.__file__).parent


def handled(function: Callable[..., Any], batch: int | None = None) -> Any:
    registry = Registry()
    registry.handler(function, batch=batch, name="made")
    return registry.handlers["made"]


def test_a_signature_says_what_a_handler_is_given() -> None:
    async def store(payload: dict[str, Any], message: Message, http: object) -> None: ...

    made = handled(store)

    assert made.payload == dict[str, Any]
    assert made.message == "message"
    assert made.resources == ("http",)
    assert made.is_async


def test_parameters_with_a_default_are_left_alone() -> None:
    def store(payload: str, limit: int = 3) -> None: ...

    assert handled(store).resources == ()


def test_a_batch_handler_is_given_lists() -> None:
    def store(payloads: list[int], messages: list[Message]) -> None: ...

    made = handled(store, batch=10)

    assert (made.payload, made.message, made.batch) == (int, "messages", 10)


def nothing() -> None: ...
def many(*payloads: int) -> None: ...
def named(**payload: int) -> None: ...
def keyword(*, payload: int) -> None: ...
def twice(payload: int, one: Message, other: Message) -> None: ...
def positional(payload: int, resource: object, /) -> None: ...
def maybe(payload: int, message: Message | None) -> None: ...
def several(payload: int, messages: Sequence[Message]) -> None: ...
async def stream(payload: int) -> AsyncIterator[int]:
    yield payload


class Shop:
    def sell(self, payload: int) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        nothing,
        many,
        named,
        keyword,
        twice,
        positional,
        maybe,
        several,
        stream,
        print,
        Message,
        Shop.sell,
        Shop().sell,
    ],
)
def test_what_cannot_be_a_handler_is_told_what_can(function: Callable[..., Any]) -> None:
    with pytest.raises(BadSignature, match="a handler is a function or async function whose first"):
        handled(function)


def test_a_batch_takes_the_messages_of_all_not_one() -> None:
    def one(payloads: list[int], message: Message) -> None: ...

    with pytest.raises(BadSignature, match=r"'message' cannot be Message; .*list\[Message\]"):
        handled(one, batch=10)


def test_the_payload_alone_may_be_positional_only() -> None:
    def store(payload: int, /, http: object) -> None: ...

    assert handled(store).resources == ("http",)


def test_the_message_as_payload_may_be_optional_like_any_other() -> None:
    def store(payload: Message | None) -> None: ...
    def all_of(payloads: list[Message | None]) -> None: ...

    assert (handled(store).payload, handled(all_of, batch=2).payload) == (Message, Message)


def test_a_batch_needs_a_list_and_a_size() -> None:
    def single(payload: int) -> None: ...

    with pytest.raises(BadSignature, match="'payload' must be a list"):
        handled(single, batch=3)
    with pytest.raises(BadSignature, match="batch=0 must be a whole number from 1"):
        handled(single, batch=0)


def test_an_annotation_that_cannot_be_resolved_is_named() -> None:
    def lost(payload: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(BadSignature, match="'Missing' is not defined"):
        handled(lost)


def test_two_handlers_cannot_have_one_name() -> None:
    def first(payload: int) -> None: ...
    def second(payload: int) -> None: ...

    registry = Registry()
    registry.handler(first, batch=None, name="same")

    with pytest.raises(BadSignature, match=r"another handler is named 'same', at .*first"):
        registry.handler(second, batch=None, name="same")


def test_a_resource_is_a_generator_function() -> None:
    def plain() -> int:
        return 1

    with pytest.raises(BadSignature, match="a resource is a generator function"):
        Registry().resource(plain, name=None)


def test_resources_come_after_what_they_need() -> None:
    registry = Registry()

    def pool(settings: object) -> Iterator[int]:
        yield 1

    def settings() -> Iterator[int]:
        yield 1

    registry.resource(pool, name=None)
    registry.resource(settings, name=None)

    assert [made.name for made in registry.needed(["pool"])] == ["settings", "pool"]


def test_resources_that_need_each_other_or_nobody_knows_are_refused() -> None:
    registry = Registry()

    def left(right: object) -> Iterator[int]:
        yield 1

    def right(left: object) -> Iterator[int]:
        yield 1

    registry.resource(left, name=None)
    registry.resource(right, name=None)

    with pytest.raises(ValueError, match="left -> right -> left"):
        registry.needed(["left"])
    with pytest.raises(KeyError, match="nobody"):
        registry.needed(["nobody"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("def (", "SyntaxError"),
        ("from worker import handler\n@handler\ndef f(): ...", "has no parameter for the payload"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_problem_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    module = f"broken_{abs(hash(text))}"
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.setattr("sys.path", ["first"])

    (problem,) = load([module], [str(tmp_path)])

    assert expected in problem.text
    assert problem.module == module


def test_a_module_that_is_not_there_is_named() -> None:
    (problem,) = load(["handlers.flihgts"], [])

    assert "no module 'handlers.flihgts'" in problem.text


def test_a_module_that_its_package_lacks_is_told_with_the_place_of_the_package(
    tmp_path: Path,
) -> None:
    (problem,) = load(["worker.nothing"], [str(tmp_path)])

    assert problem.text == f"no module 'worker.nothing' ('worker' was found: {WORKER})"


def test_a_mistake_in_the_syntax_of_a_module_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "syntax_is_wrong.py"
    file.write_text("fine = 1\n\ndef handler(:\n")

    (problem,) = load(["syntax_is_wrong"], [str(tmp_path)])

    assert problem.text == (f"cannot be imported: SyntaxError: invalid syntax ({file}:3)")
