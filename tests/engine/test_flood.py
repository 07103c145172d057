"""Partitions of which too many messages fail, on the memory broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.engine.partition import Partition
from worker.errors import Reject

LIMIT = {"max_consecutive": 5, "window": 1000}
SETTINGS: Mapping[str, Any] = {"flood_limit": LIMIT, "dead_letter": "dlq"}
MANY = [*map(str, range(40))]

in_each_ordering = pytest.mark.parametrize("ordering", ["partition", "key", "none"])


class Weather:
    """A handler that fails while it is bad."""

    def __init__(self, error: Callable[[], Exception] = ValueError) -> None:
        self.bad = True
        self.calls: list[int] = []
        self._error = error

    def handler(self) -> Callable[[int], int]:
        def handle(payload: int) -> int:
            self.calls.append(payload)
            if self.bad:
                raise self._error()
            return payload

        return handle


def at_once(rig: Rig, steps: int = 60) -> None:
    """Let the runner do some rounds while time stands still."""
    for _ in range(steps):
        rig.runner.step()


def later(rig: Rig, seconds: float, steps: int = 60) -> None:
    rig.clock.advance(seconds)
    at_once(rig, steps)


def partition_of(rig: Rig) -> Partition:
    (partition,) = rig.runner.partitions.values()
    return partition


@in_each_ordering
@pytest.mark.parametrize("error", [ValueError, lambda: Reject("no")])
def test_a_flood_stops_at_the_limit_and_all_is_handled_when_it_is_over(
    ordering: str, error: Callable[[], Exception]
) -> None:
    weather = Weather(error)
    rig = Rig(weather.handler(), {**SETTINGS, "ordering": ordering})
    rig.send(*MANY)
    at_once(rig)
    assert len(rig.values("dlq")) == 5
    weather.bad = False

    later(rig, 1.0)
    later(rig, 1.0)

    assert len(rig.values("dlq")) == 5
    assert sorted([*rig.values(), *rig.values("dlq")], key=int) == MANY
    assert not partition_of(rig).is_flooded
    assert (rig.committed(), rig.runner.pressure.messages) == (40, 0)


def test_messages_that_cannot_be_decoded_are_a_flood_too() -> None:
    rig = Rig(Weather().handler(), SETTINGS)
    rig.send(*["{"] * 40)

    at_once(rig)

    assert rig.values("dlq") == ["{"] * 5
    assert partition_of(rig).is_flooded


@in_each_ordering
def test_while_it_is_flooded_one_message_goes_at_a_time_and_few_are_given_up(ordering: str) -> None:
    weather = Weather()
    rig = Rig(weather.handler(), {**SETTINGS, "ordering": ordering})
    rig.send(*MANY)
    at_once(rig)
    weather.calls.clear()

    for _ in range(20):
        later(rig, 30.0)

    assert len(weather.calls) == 20
    letters = len(rig.values("dlq")) - 5
    assert letters == (6 if ordering == "partition" else 0)
    for _ in range(300):
        later(rig, 30.0)
    assert sorted(rig.values("dlq"), key=int) == MANY
    assert rig.committed() == 40


def test_a_probe_that_does_not_come_back_is_alone() -> None:
    weather = Weather()
    rig = Rig(weather.handler(), {**SETTINGS, "ordering": "none"})
    rig.pool.size = 10
    rig.send(*MANY)
    at_once(rig)
    rig.pool.hold = True

    for _ in range(5):
        later(rig, 30.0)

    assert rig.pool.outstanding == 1


def test_only_failures_after_the_last_attempt_count() -> None:
    weather = Weather()
    retry = {"attempts": 2, "backoff": {"initial": "10s", "jitter": 0}}
    rig = Rig(weather.handler(), {**SETTINGS, "ordering": "none", "retry": retry})
    rig.send(*MANY)

    at_once(rig)
    before = partition_of(rig).is_flooded
    later(rig, 10.0)

    assert not before
    assert partition_of(rig).is_flooded
    assert len(rig.values("dlq")) == 5


def test_other_partitions_go_on() -> None:
    def positive(payload: int) -> int:
        if payload < 0:
            raise ValueError
        return payload

    rig = Rig(positive, {**SETTINGS, "in_flight": {"messages": 1000}}, partitions=2)
    rig.send(*["-1"] * 2000, partition=0)
    at_once(rig)
    rig.send(*MANY, partition=1)
    rig.send(*map(str, range(2000)), partition=1)
    at_once(rig, 1000)

    assert len(rig.values()) == 2040
    assert [p.is_flooded for _, p in sorted(rig.runner.partitions.items())] == [True, False]


def test_an_idle_pipeline_with_a_flooded_partition_waits_in_its_polls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(Weather().handler(), SETTINGS)
    rig.send(*MANY)
    at_once(rig)
    poll, waits = rig.consumer.poll, list[float]()

    def noted(limit: int, timeout: float) -> Any:
        waits.append(timeout)
        return poll(limit, timeout)

    monkeypatch.setattr(rig.consumer, "poll", noted)
    at_once(rig, 3)

    assert waits == [0.1] * 3


def test_messages_are_not_skipped_by_the_thousand_either() -> None:
    rig = Rig(Weather().handler(), {"flood_limit": LIMIT, "on_error": "skip"})
    rig.send(*MANY)

    at_once(rig)

    assert rig.counts.skipped == {"handler_error": 5}


@in_each_ordering
def test_a_drain_does_not_wait_for_a_flood(ordering: str) -> None:
    rig = Rig(Weather().handler(), {**SETTINGS, "ordering": ordering})
    rig.send(*MANY)
    at_once(rig)
    before = rig.clock.monotonic()

    assert rig.runner.drain()
    rig.runner.close()

    assert rig.clock.monotonic() == before
    assert rig.committed() == 5
    assert not rig.runner.pressure.messages


def test_a_flood_goes_on_when_a_failed_delivery_makes_the_pipeline_read_again() -> None:
    weather = Weather()
    rig = Rig(weather.handler(), SETTINGS)
    rig.send(*MANY)
    at_once(rig)
    weather.bad = False
    rig.producer.fail_next(when=lambda record: record.value == b"5")

    later(rig, 1.0, steps=3)
    weather.bad = True
    for _ in range(4):
        later(rig, 1.0)

    assert rig.counts.rewinds == 1
    assert partition_of(rig).is_flooded
    assert len(rig.values("dlq")) <= 6


def test_it_is_logged_when_a_flood_begins_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    weather = Weather()
    rig = Rig(weather.handler(), SETTINGS)
    rig.send(*MANY)
    at_once(rig)
    weather.bad = False
    with caplog.at_level("WARNING"):
        later(rig, 1.0)

    assert caplog.text.count("pipeline: source[0] is flooded, too many of its messages fail") == 1
    assert caplog.text.count("pipeline: source[0] is not flooded any more") == 1
