"""What becomes of a record is known to everybody who asks, whenever and from wherever."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from functools import partial
from threading import Barrier, Event, Thread

import pytest
from confluent_kafka import KafkaError, Message

from worker.errors import SendFailed
from worker.kafka.delivery import Delivery
from worker.types import Delivered

LONG = 30.0
"""Seconds after which a waiter counts as left."""
WHERE = Delivered("t", 2, 7, 99)
FAILURE = KafkaError(KafkaError._MSG_TIMED_OUT)


class Counted:
    """A producer that takes note of what became of records, and serves callbacks at once."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.errors: list[SendFailed] = []

    def failed(self, error: SendFailed) -> None:
        self.errors.append(error)

    def serve_until(self, _done: Callable[[], bool], _timeout: float | None) -> bool:
        return False

    def call_back(self, delivery: Delivery) -> None:
        delivery.call_back()


def report() -> Message:
    """What the producer reports of a record; it is the delivery's own."""
    return Message(topic="t", partition=2, offset=7, key=b"k", value=b"abc", timestamp=(1, 99))


def delivery() -> Delivery:
    return Delivery(Counted())


def raising(error: BaseException) -> Callable[[Delivery], object]:
    """A callback that raises."""

    def callback(_delivery: Delivery) -> None:
        raise error

    return callback


# --- what is known ---


def test_nothing_is_known_before_the_report() -> None:
    one = delivery()

    assert not one.done()
    with pytest.raises(TimeoutError, match="nothing is known of the record after 0 s"):
        one.result(0)
    with pytest.raises(TimeoutError, match=r"after 0\.001 s"):
        one.exception(0.001)


def test_a_record_that_was_delivered_says_where_it_is() -> None:
    one = delivery()

    one(None, report())

    assert one.done()
    assert one.result() == one.result(0) == WHERE
    assert one.exception() is None


def test_a_record_that_failed_says_why_with_code_and_advice() -> None:
    one = delivery()

    one(FAILURE, report())

    assert one.done()
    failed = one.exception()
    assert failed is not None
    assert failed.code == KafkaError._MSG_TIMED_OUT
    assert failed.retriable
    assert "a record for t was not delivered: _MSG_TIMED_OUT" in failed.text
    assert "sending again may duplicate" in failed.advice
    for _ in range(2):
        with pytest.raises(SendFailed) as caught:
            one.result(0)
        assert caught.value is failed


def test_without_acknowledgements_the_offset_is_minus_one() -> None:
    one = delivery()

    one(None, Message(topic="t", value=b""))

    assert one.result(0).offset == -1


def test_what_became_of_a_record_is_counted_once_and_before_anybody_is_told() -> None:
    counted = Counted()
    good, bad = Delivery(counted), Delivery(counted)
    seen: list[tuple[int, int]] = []
    for one in (good, bad):
        one.add_done_callback(lambda _: seen.append((counted.messages, len(counted.errors))))

    good(None, report())
    bad(FAILURE, report())

    assert (counted.messages, counted.bytes) == (1, 3)
    assert counted.errors == [bad.exception()]
    assert seen == [(1, 0), (1, 1)]


def test_a_delivery_holds_no_more_than_it_must() -> None:
    with pytest.raises(AttributeError):
        delivery().more = 1  # type: ignore[attr-defined]


# --- callbacks ---


def test_callbacks_are_called_once_in_their_order() -> None:
    one, calls = delivery(), list[tuple[str, Delivery]]()
    one.add_done_callback(lambda which: calls.append(("first", which)))
    one.add_done_callback(lambda which: calls.append(("second", which)))

    before = list(calls)
    one(None, report())

    assert before == []
    assert calls == [("first", one), ("second", one)]


def test_a_callback_that_comes_after_the_report_is_called_at_once() -> None:
    one, calls = delivery(), list[Delivered]()
    one(None, report())

    one.add_done_callback(lambda which: calls.append(which.result(0)))
    one.add_done_callback(lambda which: calls.append(which.result(0)))

    assert calls == [WHERE, WHERE]


@pytest.mark.parametrize("error", [ValueError("planted"), asyncio.CancelledError(), SystemExit(1)])
def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    one, calls = delivery(), list[str]()
    one.add_done_callback(lambda _: calls.append("before"))
    one.add_done_callback(raising(error))
    one.add_done_callback(lambda _: calls.append("after"))

    one(None, report())
    one.add_done_callback(raising(error))

    assert calls == ["before", "after"]
    assert one.result(0) == WHERE
    assert [record.getMessage() for record in caplog.records] == [
        "a callback of a delivery raised"
    ] * 2
    for record in caplog.records:
        assert record.exc_info is not None
        assert record.exc_info[1] is error


def test_a_callback_may_add_another() -> None:
    one, calls = delivery(), list[str]()
    one.add_done_callback(lambda which: which.add_done_callback(lambda _: calls.append("inner")))

    one(None, report())

    assert calls == ["inner"]


def test_a_callback_may_ask_for_the_result() -> None:
    one, found = delivery(), list[SendFailed | None]()
    one.add_done_callback(lambda which: found.append(which.exception(0)))

    one(FAILURE, report())

    assert found == [one.exception(0)]


# --- tasks ---


def test_a_delivery_can_be_awaited_before_and_after_the_report() -> None:
    one = delivery()

    async def awaited() -> list[Delivered]:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: Thread(target=one, args=(None, report())).start())
        return [*await asyncio.gather(wait(one), wait(one)), await one]

    assert asyncio.run(asyncio.wait_for(awaited(), LONG)) == [WHERE] * 3


def test_awaiting_a_record_that_failed_raises() -> None:
    one = delivery()

    async def awaited() -> Delivered:
        asyncio.get_running_loop().call_soon(one, FAILURE, report())
        return await one

    with pytest.raises(SendFailed) as caught:
        asyncio.run(asyncio.wait_for(awaited(), LONG))

    assert caught.value is one.exception(0)


def test_awaiting_does_not_block_the_loop() -> None:
    one = delivery()

    async def awaited() -> Delivered:
        waiter = asyncio.create_task(wait(one))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiter.done()
        one(None, report())
        return await waiter

    assert asyncio.run(asyncio.wait_for(awaited(), LONG)) == WHERE


def test_a_waiter_that_is_cancelled_leaves_the_others_waiting() -> None:
    one = delivery()

    async def awaited() -> tuple[bool, Delivered]:
        impatient, patient = asyncio.create_task(wait(one)), asyncio.create_task(wait(one))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        one(None, report())
        return impatient.cancelled(), await patient

    assert asyncio.run(asyncio.wait_for(awaited(), LONG)) == (True, WHERE)


def test_a_waiter_that_is_cancelled_as_the_report_comes_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = delivery()

    async def awaited() -> Delivered:
        waiter = asyncio.create_task(wait(one))
        await asyncio.sleep(0)
        one(None, report())
        waiter.cancel()
        await asyncio.wait([waiter])
        await asyncio.sleep(0)
        assert waiter.cancelled()
        return await one

    assert asyncio.run(asyncio.wait_for(awaited(), LONG)) == WHERE
    assert caplog.records == []


def test_a_waiter_that_gives_up_in_time_can_ask_again() -> None:
    one = delivery()

    async def awaited() -> Delivered:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(one), 0.001)
        one(None, report())
        return await one

    assert asyncio.run(asyncio.wait_for(awaited(), LONG)) == WHERE


def test_a_loop_that_is_closed_before_the_report_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, calls = delivery(), list[Delivery]()

    async def leave() -> None:
        asyncio.create_task(wait(one))  # noqa: RUF006 - it is cancelled with the loop
        await asyncio.sleep(0)

    asyncio.run(leave())
    one.add_done_callback(calls.append)
    one(None, report())

    assert calls == [one]
    assert one.result(0) == WHERE
    assert caplog.records == []


async def wait(one: Delivery) -> Delivered:
    return await one


# --- threads ---


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_many_threads_wait_for_one_delivery() -> None:
    one, begun = delivery(), Barrier(21)
    found: list[Delivered] = []

    def ask() -> None:
        begun.wait(LONG)
        found.append(one.result(LONG))

    threads = started([ask] * 20)
    begun.wait(LONG)
    one(None, report())

    assert ended(threads)
    assert found == [WHERE] * 20


def test_a_thread_that_waits_without_end_is_told() -> None:
    one, asked, found = delivery(), Event(), list[SendFailed | None]()

    def ask() -> None:
        asked.set()
        found.append(one.exception())

    threads = started([ask])
    asked.wait(LONG)
    one(FAILURE, report())

    assert ended(threads)
    assert found == [one.exception(0)]


@pytest.mark.usefixtures("restless")
def test_no_waiter_is_left_however_reports_and_waiters_meet() -> None:
    rounds, waiters = 500, 4
    deliveries = [delivery() for _ in range(rounds)]
    meet = Barrier(waiters + 1)
    results: list[Delivered] = []
    calls: list[Delivery] = []

    def settle() -> None:
        for one in deliveries:
            meet.wait(LONG)
            one(None, report())

    def ask() -> None:
        for one in deliveries:
            meet.wait(LONG)
            one.add_done_callback(calls.append)
            results.append(one.result(LONG))

    threads = started([settle, *[ask] * waiters])

    assert ended(threads)
    assert results == [WHERE] * rounds * waiters
    assert sorted(map(id, calls)) == sorted(map(id, deliveries * waiters))


@pytest.mark.usefixtures("restless")
def test_many_threads_add_callbacks_and_each_is_called_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, begun = delivery(), Barrier(4)
    calls: list[int] = []
    one(None, report())

    def note(number: int, _delivery: Delivery) -> None:
        calls.append(number)

    def add(numbers: range) -> None:
        begun.wait(LONG)
        for number in numbers:
            one.add_done_callback(partial(note, number))

    numbers = range(8_000)
    threads = started([partial(add, numbers[first::4]) for first in range(4)])

    assert ended(threads)
    assert sorted(calls) == list(numbers)
    assert caplog.records == []


@pytest.mark.usefixtures("restless")
def test_no_task_is_left_however_reports_and_tasks_meet() -> None:
    rounds = 500
    deliveries = [delivery() for _ in range(rounds)]
    meet = Barrier(2)

    def settle() -> None:
        for one in deliveries:
            meet.wait(LONG)
            one(None, report())

    async def ask() -> list[Delivered]:
        found = []
        for one in deliveries:
            meet.wait(LONG)
            found.append(await asyncio.wait_for(wait(one), LONG))
        return found

    threads = started([settle])
    found = asyncio.run(ask())

    assert ended(threads)
    assert found == [WHERE] * rounds


def started(targets: list[Callable[[], None]]) -> list[Thread]:
    threads = [Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: list[Thread]) -> bool:
    for thread in threads:
        thread.join(LONG)
    return not any(thread.is_alive() for thread in threads)
