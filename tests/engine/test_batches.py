"""What becomes of the messages of a batch, each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.engine.partition import Partition, Run
from worker.errors import BatchError, Reject, Retry
from worker.flow.lanes import OneLane
from worker.types import Encoded, Failed, Message, Outcome, StoredMessage, TopicPartition

RETRY = {
    "retry": {"attempts": 3, "backoff": {"initial": "10s", "max": "1h", "jitter": 0}},
    "dead_letter": {"default": "dlq", "message": True},
}

Handler = Callable[..., list[Any] | None]


def in_which_the_odd_fail(error: BaseException) -> dict[str, Handler]:
    """Batch handlers that say the same in each of the ways that there are."""

    def raise_by_place(payloads: list[int]) -> None:
        raise BatchError({i: error for i, one in enumerate(payloads) if one % 2})

    def raise_by_message(payloads: list[int], messages: list[Message]) -> None:
        raise BatchError({m: error for one, m in zip(payloads, messages, strict=True) if one % 2})

    def give_back(payloads: list[int]) -> list[int | BaseException | None]:
        return [error if one % 2 else None for one in payloads]

    return {f.__name__: f for f in (raise_by_place, raise_by_message, give_back)}


WAYS = list(in_which_the_odd_fail(ValueError()))


def letters(rig: Rig) -> dict[bytes | None, dict[str, bytes | None]]:
    return {letter.value: dict(letter.headers) for letter in rig.broker.records("dlq")}


def later(rig: Rig, seconds: float) -> None:
    rig.clock.advance(seconds)
    rig.step()


@pytest.mark.parametrize("way", WAYS)
def test_those_that_are_named_fail_and_the_others_are_handled(way: str) -> None:
    handler = in_which_the_odd_fail(ValueError("odd"))[way]
    rig = Rig(handler, {"dead_letter": {"default": "dlq", "message": True}}, batch=10)
    rig.send("0", "1", "{", "2", "3")

    rig.step()

    assert set(letters(rig)) == {b"1", b"{", b"3"}
    assert letters(rig)[b"3"]["dlq.error"] == b"ValueError"
    assert letters(rig)[b"3"]["dlq.message"] == b"odd"
    assert letters(rig)[b"{"]["dlq.reason"] == b"undecodable"
    assert (rig.counts.handled, rig.committed()) == (2, 5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("error", "reason", "again"),
    [
        (Reject("no"), "rejected", False),
        (ValueError(), "handler_error", True),
        (KeyError(), "handler_error", False),
        (Retry(), "handler_error", True),
    ],
    ids=["reject", "error", "given up", "retry"],
)
def test_each_goes_the_way_that_its_exception_would_take_it_alone(
    way: str, error: BaseException, reason: str, *, again: bool
) -> None:
    handler = in_which_the_odd_fail(error)[way]
    retry = {**RETRY["retry"], "give_up_on": ["KeyError"]}

    sync = outcomes_of(handler, retry)
    own = outcomes_of(as_async(handler), retry)

    assert sync == own
    (failed,) = (one for one in sync if isinstance(one, Failed))
    assert (failed.failure.reason, failed.again) == (reason, again)
    assert [type(one) for one in sync].index(Failed) == 1


def outcomes_of(handler: Callable[..., Any], retry: dict[str, Any]) -> list[Outcome]:
    rig = Rig(handler, {"retry": retry}, batch=10)
    messages = [StoredMessage("source", offset=n, value=b"%d" % n) for n in range(3)]
    run = Run(Partition(TopicPartition("source", 0), 0, None, OneLane()), list(messages))
    if rig.executor.handler.is_async:
        return asyncio.run(rig.executor.execute_async(run))
    return rig.executor.execute(run)


def as_async(handler: Handler) -> Callable[..., Any]:
    async def alone(payloads: list[int]) -> Any:
        return handler(payloads)

    async def with_messages(payloads: list[int], messages: list[Message]) -> Any:
        return handler(payloads, messages)

    return with_messages if "messages" in handler.__annotations__ else alone


def test_results_and_exceptions_may_stand_beside_each_other() -> None:
    def halve(payloads: list[int]) -> list[int | ValueError]:
        return [ValueError() if one % 2 else one // 2 for one in payloads]

    rig = Rig(halve, {"dead_letter": "dlq"}, batch=10)
    rig.send("2", "3", "4")

    rig.step()

    assert rig.values() == ["1", "2"]
    assert rig.values("dlq") == ["3"]


def test_without_order_only_those_that_have_failed_are_tried_again() -> None:
    calls: list[list[int]] = []

    def once(payloads: list[int]) -> list[int | OSError]:
        calls.append(payloads)
        return [OSError() if one % 2 and len(calls) == 1 else one for one in payloads]

    rig = Rig(once, {**RETRY, "ordering": "none"}, batch=10)
    rig.send("0", "1", "2", "3")
    rig.step()
    assert rig.values() == ["0", "2"]

    later(rig, 10.0)

    assert calls == [[0, 1, 2, 3], [1, 3]]
    assert rig.values() == ["0", "2", "1", "3"]
    assert rig.committed() == 4


def test_those_that_have_failed_together_come_back_as_one_batch() -> None:
    calls: list[list[int]] = []

    def once(payloads: list[int]) -> list[int | OSError]:
        calls.append(payloads)
        return [OSError() if len(calls) == 1 else one for one in payloads]

    retry = {"attempts": 2, "backoff": {"initial": "10s", "jitter": 1}}
    rig = Rig(once, {"ordering": "none", "retry": retry}, batch=10)
    rig.send("0", "1", "2", "3")
    rig.step()

    while len(calls) < 2:
        later(rig, 0.01)

    assert calls == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_in_a_partition_all_behind_the_first_that_is_tried_again_are_handled_again_with_it() -> (
    None
):
    calls: list[list[int]] = []

    def twice(payloads: list[int]) -> list[int | OSError]:
        calls.append(payloads)
        return [OSError() if one % 2 and len(calls) <= 2 else one for one in payloads]

    rig = Rig(twice, RETRY, batch=10)
    rig.send("0", "1", "2", "3", "4")
    rig.step()
    assert rig.values() == ["0"]

    later(rig, 10.0)
    later(rig, 20.0)

    assert calls == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]
    assert rig.values() == ["0", "1", "2", "3", "4"]


def test_a_message_whose_attempts_are_used_up_holds_none_behind_it() -> None:
    def never(payloads: list[int]) -> list[int | OSError]:
        return [OSError() if one == 1 else one for one in payloads]

    rig = Rig(never, RETRY, batch=10)
    rig.send("0", "1", "2")
    rig.step()
    later(rig, 10.0)
    later(rig, 20.0)

    assert rig.values() == ["0", "2"]
    assert letters(rig)[b"1"]["dlq.attempts"] == b"3"


@pytest.mark.parametrize("ordering", ["partition", "none"])
def test_a_handler_that_asks_to_try_again_means_the_whole_batch(ordering: str) -> None:
    calls: list[list[int]] = []

    def wait(payloads: list[int]) -> list[int]:
        calls.append(payloads)
        if len(calls) == 1:
            raise Retry(delay=5.0)
        return payloads

    rig = Rig(wait, {**RETRY, "ordering": ordering}, batch=10)
    rig.send("1", "2", "3")
    rig.step()
    later(rig, 4.0)

    assert calls == [[1, 2, 3], [1, 2, 3]]
    assert rig.values() == ["1", "2", "3"]


def test_one_by_one_a_batch_is_tried_only_up_to_the_first_that_is_tried_again() -> None:
    calls: list[list[int]] = []

    def picky(payloads: list[int]) -> list[int]:
        calls.append(payloads)
        if 2 in payloads and len(calls) < 5:
            raise OSError
        return payloads

    rig = Rig(picky, RETRY, batch=10)
    rig.send("1", "2", "3")
    rig.step()
    assert rig.values() == ["1"]
    later(rig, 10.0)

    assert calls == [[1, 2, 3], [1], [2], [2, 3], [2], [3]]
    assert rig.values() == ["1", "2", "3"]


def test_an_async_batch_is_tried_no_further_either() -> None:
    calls: list[list[int]] = []

    async def picky(payloads: list[int]) -> list[int]:
        calls.append(payloads)
        if 1 in payloads:
            raise OSError
        return payloads

    found = outcomes_of(picky, {"attempts": 3})

    assert calls == [[0, 1, 2], [0], [1]]
    assert [type(one) for one in found] == [Encoded, Failed]


@pytest.mark.parametrize("place", [3, -1, Message.of(b"", topic="other", offset=77)])
def test_a_message_that_is_not_of_the_batch_makes_it_fail_as_a_whole_and_is_named(
    place: int | Message,
) -> None:
    def wrong(payloads: list[int]) -> None:
        raise BatchError({place: ValueError()})

    rig = Rig(wrong, RETRY, batch=10)
    rig.send("1", "2", "3")

    rig.step()

    assert set(letters(rig)) == {b"1", b"2", b"3"}
    text = letters(rig)[b"1"]["dlq.message"] or b""
    assert text.startswith(f"BatchError names {place!r}, which is not one of the 3".encode())


@pytest.mark.parametrize("errors", [{"1": ValueError()}, {0: "no exception"}, {0: ValueError}])
def test_a_batch_error_of_something_else_is_refused_where_it_is_made(errors: Any) -> None:
    with pytest.raises(TypeError, match="takes exceptions by messages or by their places, not"):
        BatchError(errors)


def test_an_exception_that_another_handler_returns_is_no_result() -> None:
    def give_back(payload: int) -> Any:
        return ValueError(payload)

    rig = Rig(give_back, RETRY)
    rig.send("1")

    rig.step()

    assert letters(rig)[b"1"]["dlq.reason"] == b"unencodable"


def test_a_result_of_a_batch_is_sent_although_another_cannot_be_encoded() -> None:
    def mixed(payloads: list[int]) -> list[object]:
        return [object() if one == 2 else one for one in payloads]

    found = outcomes_of(mixed, {"attempts": 3})

    assert [type(one) for one in found] == [Encoded, Encoded, Failed]
