"""Pipelines that wait while what they depend on is away, on the memory broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.rig import GROUP, Rig
from worker.errors import Reject
from worker.testing import MemoryBroker
from worker.types import TopicPartition

SOURCE = TopicPartition("source", 0)

BREAKER: dict[str, Any] = {
    "name": "payments",
    "failures": 3,
    "reset": "30s",
    "on": ["ConnectionError"],
}
SETTINGS = {
    "breaker": BREAKER,
    "dead_letter": "dlq",
    "retry": {"attempts": 2, "backoff": {"initial": "1s", "jitter": 0}},
}

in_each_ordering = pytest.mark.parametrize("ordering", ["partition", "key", "none"])


class Payments:
    """What a handler depends on; it may be away, and messages may be poison to it."""

    def __init__(self) -> None:
        self.away = False
        self.poison: set[int] = set()
        self.calls: list[int] = []

    def handler(self) -> Callable[[int], int]:
        def pay(payload: int) -> int:
            self.calls.append(payload)
            if self.away or payload in self.poison:
                raise ConnectionError
            return payload

        return pay


def rig_of(payments: Payments, **changes: Any) -> Rig:
    return Rig(payments.handler(), {**SETTINGS, **changes})


def at_once(rig: Rig, steps: int = 12) -> None:
    """Let the runner do some rounds while time stands still."""
    for _ in range(steps):
        rig.runner.step()


def later(rig: Rig, seconds: float, steps: int = 12) -> None:
    rig.clock.advance(seconds)
    at_once(rig, steps)


def opened(rig: Rig, payments: Payments) -> None:
    """Let messages fail until nothing is handed out any more."""
    payments.away = True
    rig.send(*map(str, range(6)))
    while rig.breaker is not None and rig.breaker.why_open is None:
        later(rig, 1.0)


@in_each_ordering
def test_while_it_is_away_no_message_is_given_up_and_all_are_handled_when_it_is_back(
    ordering: str,
) -> None:
    payments = Payments()
    rig = rig_of(payments, ordering=ordering)
    opened(rig, payments)
    for _ in range(100):
        later(rig, 10.0)
    assert rig.values() == rig.values("dlq") == []
    payments.away = False

    for _ in range(4):
        later(rig, 30.0, steps=40)

    assert sorted(rig.values()) == list("012345")
    assert rig.values("dlq") == []
    assert (rig.committed(), rig.runner.pressure.messages) == (6, 0)


@in_each_ordering
def test_an_open_breaker_lets_one_message_through_after_each_reset(ordering: str) -> None:
    payments = Payments()
    rig = rig_of(payments, ordering=ordering)
    opened(rig, payments)
    payments.calls.clear()

    later(rig, 28.0)
    assert payments.calls == []
    later(rig, 3.0)
    assert len(payments.calls) == 1
    later(rig, 28.0)
    assert len(payments.calls) == 1
    later(rig, 3.0)
    assert len(payments.calls) == 2


def test_a_probe_that_does_not_come_back_is_alone_until_another_reset_is_over() -> None:
    payments = Payments()
    rig = rig_of(payments, ordering="none")
    rig.pool.size = 10
    opened(rig, payments)
    rig.pool.hold = True

    later(rig, 30.0)
    at_first = rig.pool.outstanding
    later(rig, 29.9)
    before = rig.pool.outstanding
    later(rig, 0.1)

    assert (at_first, before, rig.pool.outstanding) == (1, 1, 2)


def test_in_order_nothing_behind_the_one_that_waits_is_given_to_the_handler() -> None:
    payments = Payments()
    payments.poison = {1}
    rig = rig_of(payments, retry={"attempts": 1})
    rig.send("1", "2", "3")

    at_once(rig)

    assert payments.calls == [1]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_single_attempt_is_not_the_last_either(attempts: int) -> None:
    payments = Payments()
    retry = {**SETTINGS["retry"], "attempts": attempts}  # type: ignore[dict-item]
    rig = rig_of(payments, retry=retry)
    opened(rig, payments)
    payments.away = False

    for _ in range(3):
        later(rig, 31.0)

    assert rig.values() == list("012345")
    assert rig.values("dlq") == []


def test_after_an_outage_a_message_has_all_its_attempts() -> None:
    payments = Payments()
    rig = rig_of(payments, ordering="key")
    opened(rig, payments)
    for _ in range(20):
        later(rig, 31.0)
    payments.away, payments.poison = False, {0}
    payments.calls.clear()

    for _ in range(20):
        later(rig, 31.0)

    assert sorted(rig.values()) == list("12345")
    assert rig.values("dlq") == ["0"]
    assert payments.calls.count(0) >= 2


@pytest.mark.parametrize("ordering", ["key", "none"])
def test_a_message_that_fails_by_itself_is_given_up_while_others_get_through(ordering: str) -> None:
    payments = Payments()
    payments.poison = {3}
    rig = rig_of(payments, ordering=ordering)

    for value in range(30):
        rig.send(str(value))
        later(rig, 1.0)

    assert rig.values("dlq") == ["3"]
    assert payments.calls.count(3) == 4  # in the first two nothing else had got through
    assert len(rig.values()) == 29


def test_a_probe_that_fails_lets_another_message_be_the_next() -> None:
    payments = Payments()
    rig = rig_of(payments, ordering="key")
    opened(rig, payments)
    payments.calls.clear()

    for _ in range(18):
        later(rig, 30.0)

    assert sorted(payments.calls) == sorted([*range(6)] * 3)


def test_a_failure_that_tells_nothing_of_it_neither_opens_nor_waits() -> None:
    def reject(payload: int) -> None:
        raise Reject("no") if payload % 2 else ValueError

    rig = Rig(reject, {**SETTINGS, "retry": {"attempts": 1}})
    rig.send(*map(str, range(10)))

    at_once(rig)

    assert len(rig.values("dlq")) == 10
    assert rig.breaker is not None
    assert rig.breaker.why_open is None


def test_a_probe_without_a_verdict_is_followed_by_another() -> None:
    away = True

    def pay(payload: int) -> int:
        if payload == 9:
            raise Reject("no")
        if away:
            raise ConnectionError
        return payload

    rig = Rig(pay, {**SETTINGS, "ordering": "none"})
    rig.send("1", "2", "3", "9")
    rig.pool.stuck = {b"9"}
    later(rig, 0.0)
    away = False
    rig.pool.stuck = set()

    for _ in range(6):
        later(rig, 15.0)

    assert sorted(rig.values()) == ["1", "2", "3"]
    assert rig.values("dlq") == ["9"]


def test_pipelines_that_name_it_wait_together_and_share_the_probe() -> None:
    payments = Payments()
    one = rig_of(payments)
    opened(one, payments)
    broker = MemoryBroker(one.clock)
    other = Rig(payments.handler(), SETTINGS, broker, breaker=one.breaker)
    other.send("7", "8")
    payments.calls.clear()

    at_once(other)
    assert payments.calls == []
    one.clock.advance(30.0)
    at_once(other)
    at_once(one)
    assert payments.calls == [7]
    payments.away = False
    one.clock.advance(31.0)
    for _ in range(2):
        at_once(other)
        at_once(one)

    assert other.values() == ["7", "8"]
    assert one.breaker is not None
    assert one.breaker.why_open is None


def test_it_stays_open_through_a_rebalance() -> None:
    payments = Payments()
    rig = rig_of(payments)
    opened(rig, payments)
    payments.calls.clear()

    rig.restart()
    at_once(rig)

    assert rig.runner.partitions
    assert payments.calls == []


@in_each_ordering
def test_a_drain_does_not_wait_for_an_open_breaker(ordering: str) -> None:
    payments = Payments()
    rig = rig_of(payments, ordering=ordering)
    opened(rig, payments)
    before = rig.clock.monotonic()

    assert rig.runner.drain()
    rig.runner.close()

    assert rig.clock.monotonic() == before
    assert not rig.runner.pressure.messages


def test_while_it_is_open_the_pipeline_polls_and_commits() -> None:
    payments = Payments()
    rig = rig_of(payments, ordering="key")
    rig.send("9")
    rig.step()
    opened(rig, payments)
    rig.send(*map(str, range(10, 50)))

    rig.step()

    assert rig.counts.received == 47
    assert rig.committed() == 1


def test_it_says_why_it_is_open_and_that_it_is_closed_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    payments = Payments()
    rig = rig_of(payments)
    opened(rig, payments)
    assert rig.breaker is not None
    why = rig.breaker.why_open
    payments.away = False

    with caplog.at_level("WARNING"):
        for _ in range(3):
            later(rig, 31.0)

    assert why == (
        "breaker payments is open after 3 failures in a row, the last handler_error ConnectionError"
    )
    assert "breaker payments is open after 3 failures" in caplog.text
    assert caplog.text.count("breaker payments is closed again") == 1


def test_a_message_that_may_have_ended_the_worker_waits_for_the_breaker_and_is_its_probe() -> None:
    payments = Payments()
    rig = rig_of(payments, ordering="key")
    assert rig.breaker is not None
    rig.broker.commit(GROUP, SOURCE, 0, "sw1:oanother,s2,c0,x5,t1")
    rig.send(*map(str, range(10)))
    for _ in range(BREAKER["failures"]):
        rig.breaker.failed(rig.clock.monotonic(), "ConnectionError")

    at_once(rig, 60)
    while_open = list(payments.calls)
    assert rig.floor.turns == deque()
    later(rig, 30.0, steps=60)

    assert while_open == []
    assert payments.calls[0] == 5
    assert sorted(payments.calls) == list(range(10))
    assert rig.breaker.why_open is None
