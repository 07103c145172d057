"""Partitions that a client stops to fetch without a word, on the memory broker."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.engine.rig import Rig
from worker.engine.ends import ASK_EVERY
from worker.engine.repairs import LONGEST_SILENCE
from worker.errors import ClientError, ClientFatal
from worker.flow.stuck import FIRST_AFTER, HOPELESS_AFTER, NEXT_AFTER, REPAIRS
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.producer import QUEUE, MemoryProducer
from worker.types import Encoded, TopicPartition

SILENT = TopicPartition("source", 1)
LONG = FIRST_AFTER + len(REPAIRS) * NEXT_AFTER + 5 * ASK_EVERY
"""Seconds after which all repairs have been tried."""


class Refusing(MemoryBroker):
    """Gives no further producer once it refuses."""

    refuses = False

    def producer(self, *, queue: int = QUEUE, **_settings: Any) -> MemoryProducer:
        if self.refuses:
            raise ClientError("no producer")
        return super().producer(queue=queue)


def same(payload: Any) -> Any:
    return payload


def rig_of(settings: dict[str, Any] | None = None) -> Rig:
    """A pipeline that has read the two messages of its two partitions."""
    rig = Rig(same, settings or {}, partitions=2)
    rig.send("1")
    rig.send("2", partition=1)
    rig.step()
    return rig


def look(rig: Rig) -> None:
    """Ask the cluster where the logs end; the next step looks at the answer."""
    rig.log_ends.want("pipeline", rig.runner.partitions, "read_committed")
    rig.log_ends.look()


def live(rig: Rig, seconds: float, *, helps: bool = True) -> None:
    """Step for so long, while the cluster is asked where logs end, with new clients if need be.

    Whether one of these `helps`: or else it fetches no more than the one before.
    """
    end = rig.clock.monotonic() + seconds
    while rig.clock.monotonic() < end:
        look(rig)
        asked_again = rig.clock.monotonic() + ASK_EVERY
        while rig.clock.monotonic() < asked_again:
            try:
                rig.step()
            except ClientFatal:
                rig.join_again()
                if not helps:
                    rig.consumer.stop_fetching(SILENT)


def progress(rig: Rig, source: TopicPartition = SILENT) -> str:
    return rig.runner.repairs.progress(rig.runner.partitions[source])


def uncommitted_for(rig: Rig) -> float | None:
    return rig.runner.repairs.uncommitted_for(rig.runner.partitions[SILENT])


@pytest.mark.parametrize("number", range(len(REPAIRS)))
def test_a_partition_that_is_not_fetched_is_repaired_until_it_is(number: int) -> None:
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT, REPAIRS[number])
    rig.send("3", "4", partition=1)

    live(rig, LONG)

    assert sorted(rig.values(), key=int) == ["1", "2", "3", "4"]
    assert rig.counts.repairs == dict.fromkeys(REPAIRS[: number + 1], 1)
    assert progress(rig) == "moves"


def test_a_partition_that_was_repaired_may_be_repaired_again() -> None:
    rig = rig_of()
    for value in ("3", "4"):
        rig.consumer.stop_fetching(SILENT, "seek")
        rig.send(value, partition=1)
        live(rig, LONG)

    assert sorted(rig.values(), key=int) == ["1", "2", "3", "4"]
    assert rig.counts.repairs == {"seek": 2}


def test_others_are_read_meanwhile() -> None:
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT)
    rig.send("3", partition=1)

    for number in range(4, 24):
        rig.send(str(number))
        live(rig, ASK_EVERY, helps=False)

    assert progress(rig) == "stuck"
    assert sorted(rig.values(), key=int) == ["1", "2", *map(str, range(4, 24))]
    assert progress(rig, TopicPartition("source", 0)) == "moves"


def test_a_partition_that_nothing_helps_is_stuck_and_then_hopeless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "worker.engine.repairs")
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT)
    rig.send("3", partition=1)

    live(rig, LONG, helps=False)
    stuck = progress(rig)
    live(rig, HOPELESS_AFTER, helps=False)

    assert (stuck, progress(rig)) == ("stuck", "hopeless")
    assert rig.counts.repairs == dict.fromkeys(REPAIRS, 1)
    where = "pipeline: source[1] has messages and stands at 1"
    assert [record.getMessage() for record in caplog.records] == [
        f"{where}: seeking to where it is",
        f"{where}: pausing and resuming it",
        f"{where}: assigning it anew",
        f"{where}: giving the clients up for new ones",
        "pipeline: source[1] stands at 1, and nothing has helped",
    ]


def test_a_pipeline_with_nothing_to_read_has_nothing_to_repair() -> None:
    rig = rig_of()

    live(rig, HOPELESS_AFTER)

    assert rig.counts.repairs == {}


def test_an_open_transaction_holds_its_partition_and_that_is_no_fault() -> None:
    rig = rig_of()
    producer = rig.broker.transactional("other")
    producer.take_over(1.0)
    producer.begin()
    record = Encoded("source", b"3", b"3", partition=1)
    producer.send([record], lambda _number: None, lambda error: pytest.fail(str(error)))

    live(rig, HOPELESS_AFTER)

    assert rig.counts.repairs == {}


def test_a_partition_that_is_paused_on_purpose_is_left_alone() -> None:
    rig = rig_of({"in_flight": {"messages": 2}})
    rig.pool.hold = True
    rig.consumer.stop_fetching(SILENT)
    rig.send(*map(str, range(10)))
    rig.send("3", partition=1)

    live(rig, HOPELESS_AFTER)

    assert rig.counts.repairs == {}


def test_what_the_user_may_not_read_is_left_alone() -> None:
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT)
    rig.consumer.denied = "may not be read: source"
    rig.send("3", partition=1)

    live(rig, HOPELESS_AFTER)

    assert rig.counts.repairs == {}


def test_brokers_that_were_away_leave_the_client_time_to_come_back() -> None:
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT)
    rig.send("3", partition=1)
    live(rig, FIRST_AFTER - ASK_EVERY)
    rig.broker.stop()
    live(rig, LONGEST_SILENCE + ASK_EVERY)
    assert rig.log_ends.silent_since is not None

    rig.broker.start()
    live(rig, FIRST_AFTER)
    early = dict(rig.counts.repairs)
    live(rig, 2 * ASK_EVERY)

    assert early == {}
    assert rig.counts.repairs == {"seek": 1}


def test_partitions_that_are_read_again_are_new_ones() -> None:
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT)
    rig.send("3", partition=1)
    live(rig, FIRST_AFTER - ASK_EVERY)

    rig.restart()
    rig.consumer.stop_fetching(SILENT)
    rig.step()
    live(rig, FIRST_AFTER)

    assert rig.counts.repairs == {}


def test_what_is_finished_and_not_committed_is_noted_until_it_is() -> None:
    rig = rig_of()
    rig.consumer.fail_commits(times=100)
    rig.send("3", partition=1)
    live(rig, 30.0)
    seconds = uncommitted_for(rig)
    assert seconds is not None
    assert seconds > 20

    live(rig, 300.0)

    assert uncommitted_for(rig) is None


def test_a_log_that_ends_with_what_was_aborted_has_nothing_to_read() -> None:
    rig = rig_of()
    rig.broker.append_aborted(SILENT, b"3")

    live(rig, HOPELESS_AFTER)

    assert rig.counts.repairs == {}


def test_a_partition_that_is_paused_from_look_to_look_is_left_alone() -> None:
    rig = rig_of()
    rig.consumer.stop_fetching(SILENT)
    rig.send("3", partition=1)

    for _ in range(20):
        live(rig, ASK_EVERY)
        rig.runner.partitions[SILENT].due = rig.clock.monotonic() + 0.5
        rig.step()
        assert not rig.runner.partitions[SILENT].paused

    assert rig.counts.repairs == {}


def test_commits_that_are_behind_and_move_are_not_taken_for_missing() -> None:
    rig = rig_of({"commit": {"interval": "7s"}})
    waited = []
    for second in range(34):
        if second % 5 == 0:
            look(rig)
        rig.send(str(second), partition=1)
        rig.step()
        waited.append(uncommitted_for(rig))

    assert any(waited)
    assert max(seconds or 0.0 for seconds in waited) < 15


def test_while_records_cannot_be_delivered_nothing_is_repaired() -> None:
    broker = Refusing(ManualClock())
    rig = Rig(same, {}, broker, partitions=2)
    rig.producer.fail_next("TOPIC_AUTHORIZATION_FAILED")
    broker.refuses = True
    rig.send("1")
    rig.step()
    rig.consumer.stop_fetching(SILENT)
    rig.send("2", partition=1)

    live(rig, HOPELESS_AFTER)

    assert rig.runner.blocked is not None
    assert rig.counts.repairs == {}
