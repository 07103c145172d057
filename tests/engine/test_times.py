"""What a runner measures, on the memory broker and with time that is moved by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.rig import GROUP, Rig
from worker.engine.execute import TIMED
from worker.engine.overview import Overview
from worker.engine.partition import Finished
from worker.errors import Reject
from worker.flow.health import PartitionState
from worker.flow.timing import Histogram
from worker.settings.topics import retry_topic
from worker.types import Commit, Done, Message, TopicPartition

SOURCE = TopicPartition("source", 0)


def same(payload: Any) -> Any:
    return payload


def seen(rig: Rig, overview: Overview) -> PartitionState:
    (state,) = overview.look(rig.runner, rig.clock.monotonic(), rig.clock.time())
    return state


def mean(histogram: Histogram) -> float:
    return histogram.seconds / histogram.count


def test_how_old_messages_are_counts_from_their_timestamps() -> None:
    rig = Rig(same)
    rig.send("1", "2", "3")
    rig.clock.advance(40.0)

    rig.step()

    assert (rig.counts.latency.count, mean(rig.counts.latency)) == (3, 40.0)
    assert rig.counts.handling.count == 3


def test_messages_without_a_timestamp_have_no_age() -> None:
    rig = Rig(same)
    rig.broker.append("source", b"1", timestamp=-1)

    rig.step()

    assert rig.counts.handled == 1
    assert rig.counts.latency.count == 0


def test_of_a_clock_that_is_ahead_it_is_not_known_how_old_messages_are() -> None:
    rig = Rig(same)
    ahead = int(rig.clock.time() * 1000) + 3_600_000
    rig.broker.append("source", b"1", timestamp=ahead)

    rig.step()

    assert rig.counts.handled == 1
    assert rig.counts.latency.count == 0


def test_of_a_clock_that_is_ahead_messages_are_as_old_as_the_log_is_known_to_hold_them() -> None:
    rig = Rig(same)
    overview = Overview(rig.log_ends, "read_committed")
    ahead = int(rig.clock.time() * 1000) + 3_600_000
    rig.pool.hold = True
    rig.broker.append("source", b"1", timestamp=ahead)
    rig.step()
    seen(rig, overview)
    rig.clock.advance(20.0)
    assert seen(rig, overview).behind == 20.0

    rig.pool.hold = False
    rig.step()

    assert (rig.counts.latency.count, mean(rig.counts.latency)) == (1, 20.0)


def test_a_message_that_waits_in_retry_topics_counts_once_from_when_it_was_first_written() -> None:
    def in_the_last(payload: Any, message: Message) -> Any:
        if message.topic != retry_topic(GROUP, 1):
            raise ValueError
        return payload

    settings = {"retry": {"attempts": 1, "topics": ["3s", "5s"]}, "dead_letter": "dlq"}
    rig = Rig(in_the_last, settings | {"ordering": "key"})
    rig.send("1")
    for wait in (0.0, 3.0, 5.0):
        rig.clock.advance(wait)
        for _ in range(3):
            rig.step()

    assert rig.values() == ["1"]
    assert (rig.counts.latency.count, mean(rig.counts.latency)) == (1, 8.0)


def test_of_many_runs_in_a_step_some_stand_for_all() -> None:
    rig = Rig(same, {"ordering": "key", "concurrency": 100})
    rig.pool.size = 100
    rig.send(*map(str, range(96)))

    rig.step()

    assert rig.counts.handled == 96
    assert rig.counts.handling.count == 96


def test_with_transactions_messages_are_finished_when_theirs_is_committed() -> None:
    rig = Rig(same, {"delivery": "exactly_once"})
    rig.runner.step()
    rig.send("1")
    rig.runner.step()
    rig.runner.step()
    rig.clock.advance(7.0)
    rig.runner.step()

    assert (rig.counts.latency.count, mean(rig.counts.latency)) == (1, 7.0)
    assert rig.counts.transactions.count == rig.counts.commits
    assert rig.counts.transactions.seconds == pytest.approx(7.0)
    assert rig.counts.aborts == 0


def test_a_rebalance_takes_as_long_as_what_handlers_have_is_waited_for() -> None:
    rig = Rig(same, {"revoke_timeout": "5s"})
    rig.step()
    assert (rig.counts.rebalances, rig.counts.rebalancing.seconds) == (1, 0.0)
    rig.pool.hold = True
    rig.send("1")
    rig.step()
    collect = rig.pool.collect

    def slowly(timeout: float) -> list[Finished]:
        rig.clock.advance(1.0)
        return collect(timeout)

    rig.pool.collect = slowly  # type: ignore[method-assign]
    rig.runner.revoked([SOURCE])
    rig.runner.assigned({SOURCE: Commit(0)})
    rig.runner.assigned({})

    assert rig.counts.rebalances == rig.counts.rebalancing.count == 2
    assert rig.counts.rebalancing.seconds == 5.0


def test_who_leaves_has_counted_how_long_its_last_rebalance_took() -> None:
    rig = Rig(same)
    rig.step()
    rig.runner.revoked([SOURCE])
    rig.runner.close()

    assert rig.counts.rebalances == rig.counts.rebalancing.count == 2


def test_the_message_at_hand_holds_a_partition_be_others_of_its_run_handled() -> None:
    rig = Rig(same)
    overview = Overview(rig.log_ends, "read_committed")
    rig.pool.hold = True
    rig.send("1", "2", "3")
    rig.runner.step()
    (run,) = rig.pool.runs
    run.partition.held = True
    waiting = seen(rig, overview)
    run.begun, run.found = rig.clock.monotonic(), [Done(())]
    rig.clock.advance(40.0)
    at_second = seen(rig, overview)
    run.found += [Done(()), Done(())]
    handled = seen(rig, overview)

    assert (waiting.waiting, at_second.waiting, handled.waiting) == (3, 1, 0)
    assert (waiting.held_by, waiting.at_hand) == (0, None)
    assert (at_second.committable, at_second.held_by) == (0, 1)
    assert (at_second.at_hand, at_second.at_hand_for) == (1, 40.0)
    assert (handled.held_by, handled.at_hand, handled.at_hand_for) == (0, None, 0.0)


def test_of_a_batch_the_first_unfinished_message_is_at_hand_and_of_other_runs_none() -> None:
    rig = Rig(lambda payloads: payloads, {"ordering": "none", "concurrency": 2}, batch=2)
    overview = Overview(rig.log_ends, "read_committed")
    rig.pool.hold, rig.pool.size = True, 2
    rig.send("1", "2", "3", "4")
    rig.runner.step()
    first, second = rig.pool.runs
    second.begun = rig.clock.monotonic()
    of_other = seen(rig, overview)
    first.begun = rig.clock.monotonic()
    first.messages.reverse()

    at_both = seen(rig, overview)

    assert (of_other.at_hand, of_other.waiting) == (None, 2)
    assert (at_both.at_hand, at_both.waiting) == (0, 0)


def test_the_time_of_the_loop_is_told_by_stages() -> None:
    rig = Rig(same)

    for number in range(TIMED + 1):
        rig.send(str(number))
        rig.step()

    assert {stage for stage, seconds in rig.counts.stages.items() if not seconds} == {"blocked"}
    assert rig.values() == [str(number) for number in range(TIMED + 1)]


def spent_on(rig: Rig) -> set[str]:
    """The stages that the time of some further steps goes into."""
    before = dict(rig.counts.stages)
    for _ in range(20):
        rig.clock.advance(0.1)
        rig.runner.step()
    return {stage for stage, seconds in rig.counts.stages.items() if seconds > before[stage]}


def test_while_nothing_can_be_delivered_the_loop_waits_for_no_messages_and_is_not_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.flow.backoff.BACKOFF", (100.0, 100.0))
    rig = Rig(same)
    overview = Overview(rig.log_ends, "read_committed")
    rig.producer.fail_next()
    rig.send("1")
    for _ in range(4):
        rig.step()

    assert spent_on(rig) & {"waiting", "produce", "blocked"} == {"blocked"}
    assert seen(rig, overview).paused_by == "blocked"


def test_while_the_breaker_is_open_the_loop_neither_waits_for_messages_nor_produces() -> None:
    def away(payload: Any) -> None:
        raise OSError

    breaker = {"name": "db", "failures": 1, "reset": "1h"}
    rig = Rig(away, {"breaker": breaker, "in_flight": {"messages": 3}, "dead_letter": "dlq"})
    overview = Overview(rig.log_ends, "read_committed")
    rig.send(*map(str, range(9)))
    for _ in range(4):
        rig.step()

    assert spent_on(rig) & {"waiting", "produce", "blocked"} == {"blocked"}
    assert seen(rig, overview).paused_by == "blocked"


def test_making_clients_is_no_handling() -> None:
    stages = Rig(same).counts.stages

    assert stages["other"] > 0.0
    assert stages["handler"] == 0.0


def test_where_the_handler_takes_the_message_nothing_is_decoded() -> None:
    def raw(message: Message) -> Any:
        return json.loads(message.value or b"")

    rig = Rig(raw)
    for number in range(TIMED + 1):
        rig.send(str(number))
        rig.step()

    assert rig.counts.stages["decode"] == 0.0
    assert rig.counts.stages["handler"] > 0.0


def test_a_partition_is_as_far_behind_as_its_first_unfinished_message_is_old() -> None:
    rig = Rig(same)
    overview = Overview(rig.log_ends, "read_committed")
    rig.pool.hold = True
    rig.send("1")
    rig.step()
    seen(rig, overview)
    rig.clock.advance(30.0)

    state = seen(rig, overview)
    assert (state.lag, state.behind, state.at_work) == (1, 31.0, 1)

    rig.pool.hold = False
    rig.step()
    assert (seen(rig, overview).lag, seen(rig, overview).behind) == (0, 0.0)


@pytest.mark.parametrize("ordering", ["partition", "key", "none"])
@pytest.mark.parametrize("at_work", [0, 2])
def test_of_a_backlog_of_two_ages_the_first_unfinished_message_counts(
    ordering: str, at_work: int
) -> None:
    rig = Rig(same, {"ordering": ordering, "concurrency": 2})
    overview = Overview(rig.log_ends, "read_committed")
    rig.pool.size = at_work
    rig.pool.hold = True
    now = int(rig.clock.time() * 1000)
    for number in range(1_200):
        timestamp = now - (86_400_000 if number < 300 else 0)
        rig.broker.append("source", b"1", b"%d" % number, timestamp=timestamp)
    for _ in range(9):
        rig.step()

    behind = seen(rig, overview).behind

    assert behind == pytest.approx(86_400.0, abs=60.0)


def test_of_an_even_backlog_the_age_falls_while_it_is_worked_off() -> None:
    rig = Rig(same, {"concurrency": 1})
    overview = Overview(rig.log_ends, "read_committed")
    now = int(rig.clock.time() * 1000)
    for number in range(2_000):
        timestamp = now - 86_400_000 + number * 43_200
        rig.broker.append("source", b"1", timestamp=timestamp)
    for _ in range(3):
        rig.runner.step()
    rig.pool.hold = True
    for _ in range(3):
        rig.runner.step()

    state = seen(rig, overview)

    written = now / 1000 - 86_400 + state.committable * 43.2
    assert 0 < state.committable < 2_000
    assert state.behind == pytest.approx(rig.clock.time() - written, abs=1.0)


def test_the_lag_of_a_partition_from_which_nothing_is_fetched_goes_on_growing() -> None:
    rig = Rig(same)
    overview = Overview(rig.log_ends, "read_committed")
    rig.step()
    stale = rig.consumer.ends([SOURCE])
    rig.consumer.ends = lambda partitions: stale  # type: ignore[method-assign] # noqa: ARG005
    rig.consumer.pause([SOURCE])
    rig.log_ends.want("pipeline", [SOURCE], "read_committed")
    rig.log_ends.look()
    assert seen(rig, overview).lag == 0
    rig.send("1", "2")
    rig.log_ends.look()
    rig.clock.advance(20.0)

    state = seen(rig, overview)

    assert (state.end, state.lag) == (2, 2)
    rig.clock.advance(60.0)
    later = seen(rig, overview)
    assert later.behind is not None
    assert state.behind is not None
    assert later.behind - state.behind == pytest.approx(60.0)
    assert later.commit_age >= 60.0


@pytest.mark.parametrize(
    ("settings", "cause"),
    [({"in_flight": {"messages": 1}}, "full"), ({"in_flight": {"messages": 100_000}}, None)],
)
def test_why_a_partition_is_paused_is_told(settings: dict[str, Any], cause: str | None) -> None:
    rig = Rig(same, settings)
    overview = Overview(rig.log_ends, "read_committed")
    rig.pool.hold = True
    rig.send("1", "2", "3")
    rig.step()
    rig.step()

    state = seen(rig, overview)

    assert (state.paused, state.paused_by) == (cause is not None, cause)


def test_a_retry_topic_of_which_nothing_is_due_is_paused_for_that() -> None:
    def never(_payload: Any) -> None:
        raise ValueError

    rig = Rig(never, {"retry": {"topics": ["10m"], "keep_order": False}, "dead_letter": "dlq"})
    overview = Overview(rig.log_ends, "read_committed")
    rig.send("1")
    rig.step()
    rig.step()

    states = overview.look(rig.runner, rig.clock.monotonic(), rig.clock.time())

    assert [state.paused_by for state in states] == [None, "not_due"]
    assert [state.topic for state in states] == ["source", f"{GROUP}.retry.0"]


def test_a_transaction_that_is_given_up_is_counted() -> None:
    def refuses(_payload: Any) -> None:
        raise Reject("no")

    rig = Rig(refuses, {"delivery": "exactly_once", "dead_letter": "dlq"})
    rig.send("1")
    rig.runner.step()
    rig.producer.fail_next("BROKER_NOT_AVAILABLE", 1)
    rig.step()
    rig.clock.advance(60.0)
    rig.step()

    assert rig.counts.aborts == 1
    assert rig.values("dlq") == ["1"]
