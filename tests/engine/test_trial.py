"""A message that ends the worker is found out over restarts, and nothing else suffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.engine.rig import GROUP, Rig
from tests.observe.followed import SAMPLED, Followed, attributes, context, parent_of
from worker.engine.floor import Floor
from worker.engine.partition import Finished, Run
from worker.flow import crashes, envelope
from worker.flow.crashes import Note
from worker.flow.lanes import LANES
from worker.testing import ManualClock
from worker.types import Failed, Failure, Outcome, TopicPartition

SOURCE = TopicPartition("source", 0)
POISON = b"7"
DEAD = {"dead_letter": "dlq"}


def same(payload: int) -> int:
    return payload


def numbers(number: int) -> list[str]:
    return list(map(str, range(number)))


def rig_of(ordering: str = "partition", partitions: int = 1, **settings: object) -> Rig:
    """A pipeline whose process ends as soon as the poison is at work: it never comes back."""
    rig = Rig(same, {"ordering": ordering, **(settings or DEAD)}, partitions=partitions)
    rig.pool.stuck = {POISON}
    rig.pool.size = 4
    return rig


def note(rig: Rig, partition: int = 0) -> Note:
    commit = rig.broker.group(GROUP).committed[TopicPartition("source", partition)]
    return envelope.note_of(commit.metadata, commit.offset)


def is_at_work(rig: Rig) -> bool:
    return any(map(rig.pool.is_stuck, rig.pool.runs))


def until_it_is_over(rig: Rig, restarts: int = 12) -> int:
    """Start again each time that the process has ended; how often that was."""
    for restart in range(restarts):
        for _ in range(200):
            rig.runner.step()
            if is_at_work(rig):
                break
        else:
            rig.step()
            return restart
        rig.restart()
    raise AssertionError("it never ends")


@pytest.mark.parametrize("ordering", LANES)
def test_a_message_that_ends_the_worker_is_given_up_after_seven_restarts(
    ordering: str,
) -> None:
    rig = rig_of(ordering)
    rig.send(*numbers(50))

    restarts = until_it_is_over(rig)

    assert restarts == 7
    assert rig.values("dlq") == ["7"]
    assert set(rig.values()) == set(numbers(50)) - {"7"}
    assert rig.counts.dead_lettered == {"crash": 1}
    assert (rig.committed(), note(rig).starts) == (50, 0)


def test_the_dead_letter_says_why() -> None:
    rig = rig_of()
    rig.send("7")

    until_it_is_over(rig)

    (record,) = rig.broker.records("dlq")
    headers = dict(record.headers)
    assert headers["dlq.reason"] == b"crash"
    assert headers["dlq.message"] == (
        b"the worker has ended 5 times while it handled this message alone"
    )


def test_one_that_is_followed_has_a_span_from_which_its_dead_letter_is_sent() -> None:
    followed = Followed()
    rig = Rig(same, DEAD, observer=followed.watching().observer)
    rig.pool.stuck = {POISON}
    rig.broker.append("source", POISON, headers=SAMPLED)

    until_it_is_over(rig)

    span = followed.one("process source")
    assert attributes(span)["error.type"] == "crash"
    assert parent_of(followed.one("send dlq")) == context(span).span_id


def test_the_transaction_that_moves_a_partition_on_ends_the_count_of_starts() -> None:
    rig = rig_of(dead_letter="dlq", delivery="exactly_once")
    rig.runner.step()
    rig.send("1")
    rig.restart()
    rig.runner.step()
    counted = note(rig).starts

    while rig.committed() != 1:
        rig.runner.step()
        rig.clock.advance(0.1)
    after = note(rig).starts
    rig.step()

    assert (counted, after, note(rig).starts) == (1, 0, 0)


class Apart:
    """A process apart, which ends at the poison as often as it is told to."""

    in_process = False
    saturated = False
    appetite = 1
    hindrance = None
    outstanding = 0

    def __init__(self, rig: Rig, *, ends: bool) -> None:
        self._rig = rig
        self._ends = ends
        self._done: list[Finished] = []
        self.closed = False
        self.given: list[bytes | None] = []

    def start(self, steps: Iterator[None]) -> None: ...

    def submit(self, run: Run) -> None:
        self.given += [message.value() for message in run.messages]
        crash: Sequence[Outcome] = [Failed(Failure("crash"))]
        self._done.append(Finished(run, crash if self._ends else self._rig.executor.execute(run)))

    def collect(self, timeout: float) -> list[Finished]:  # noqa: ARG002
        done, self._done = self._done, []
        return done

    def recall(self) -> Sequence[Run]:
        return ()

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("ordering", LANES)
def test_with_a_process_apart_it_takes_three(ordering: str) -> None:
    rig = rig_of(ordering)
    apart = Apart(rig, ends=True)
    rig._job = replace(rig._job, apart=lambda: apart)
    rig.restart()
    rig.send(*numbers(50))

    restarts = until_it_is_over(rig)

    assert restarts == 3
    assert rig.values("dlq") == ["7"]
    assert (apart.given, apart.closed) == ([POISON], True)
    assert (rig.committed(), set(rig.values())) == (50, set(numbers(50)) - {"7"})


def test_what_a_process_apart_can_handle_is_no_dead_letter() -> None:
    rig = rig_of()
    rig._job = replace(rig._job, apart=lambda: Apart(rig, ends=False))
    rig.restart()
    rig.send(*numbers(50))

    restarts = until_it_is_over(rig)

    assert restarts == 3
    assert rig.values("dlq") == []
    assert rig.committed() == 50
    assert set(rig.values()) == set(numbers(50))


def test_a_single_kill_leaves_no_trace() -> None:
    rig = rig_of()
    rig.pool.stuck = set()
    rig.send(*numbers(5))
    rig.step()
    before = rig.counts.commits
    rig.send(*numbers(50))
    rig.restart()
    rig.runner.step()
    assert (note(rig).starts, rig.counts.commits - before) == (1, 1)

    rig.runner.step()
    assert len(rig.runner.partitions[SOURCE].lanes) == 0 or rig.pool.outstanding == 1
    rig.step()

    assert note(rig) == Note(rig._job.floor.process)
    assert rig.committed() == 55
    rig.runner.drain()
    assert rig.broker.metadata(GROUP, SOURCE) == ""


def test_kills_of_a_worker_to_which_a_partition_gives_nothing_are_not_counted() -> None:
    rig = rig_of()
    rig.send(*numbers(5))
    rig.pool.stuck = set()
    rig.step()
    for _ in range(5):
        rig.restart()
        rig.runner.step()

    assert note(rig) == Note(rig._job.floor.process)
    rig.send(*numbers(50))
    rig.step()
    assert rig.committed() == 55


def test_kills_of_a_worker_that_gets_on_in_between_are_never_counted_twice() -> None:
    rig = rig_of()
    rig.pool.stuck = set()
    for _ in range(5):
        rig.restart()
        rig.send(*numbers(5))
        rig.step()

    assert note(rig).starts == 0


def test_neither_a_rebalance_nor_a_partition_lost_for_a_while_is_a_crash() -> None:
    rig = rig_of()
    rig.send("7")
    rig.runner.step()
    for _ in range(4):
        rig.consumer.expire()
        rig.runner.step()
    assert note(rig).starts == 0

    other = Rig(same, DEAD, rig.broker)
    other.runner.step()
    rig.runner.close()
    for _ in range(3):
        other.runner.step()

    assert note(rig).starts == 1, "left behind by a close without a drain"


def test_a_message_of_another_partition_that_was_at_work_as_well_is_not_given_up() -> None:
    rig = rig_of(partitions=3)
    for partition in range(3):
        rig.send(*numbers(40)[partition::3], partition=partition)
    rig.pool.stuck = {b"0", POISON, b"2"}
    for _ in range(2):
        for _ in range(3):
            rig.runner.step()
        rig.restart()
    rig.pool.stuck = {POISON}

    until_it_is_over(rig)

    assert rig.values("dlq") == ["7"]
    assert sorted(map(int, rig.values())) == [n for n in range(40) if n != 7]


def test_a_pipeline_that_stops_at_it_stops_again_without_handling_it() -> None:
    rig = rig_of(on_error="stop")
    rig.send(*numbers(10))
    until_failed(rig)
    rig.runner.drain()
    assert note(rig).condemned

    rig.restart()
    rig.runner.step()
    rig.runner.step()

    assert "source[0]@7) could not be handled: crash: the worker has ended" in (
        rig.runner.failed or ""
    )
    assert not is_at_work(rig)


def until_failed(rig: Rig) -> None:
    for _ in range(12):
        for _ in range(200):
            rig.runner.step()
            if is_at_work(rig) or rig.runner.failed:
                break
        if rig.runner.failed:
            return
        rig.restart()
    raise AssertionError("it never fails")


def on_trial(floor: Floor | None = None) -> Rig:
    """A worker that is to try messages alone, in this process."""
    rig = rig_of()
    rig.send(*numbers(50))
    for place in (None, floor):
        for _ in range(5):
            rig.runner.step()
        rig.restart(place)
    return rig


def test_while_messages_are_tried_they_are_named_and_statistics_say_which() -> None:
    rig = on_trial()

    for _ in range(100):
        rig.runner.step()

    partition = rig.runner.partitions[SOURCE]
    assert (partition.note.starts, partition.note.suspect) == (2, 7)
    assert (note(rig).suspect, note(rig).tries, rig.committed()) == (7, 1, 7)
    assert rig.values() == numbers(7)


def test_another_pipeline_of_the_process_makes_way_and_goes_on_when_it_takes_long() -> None:
    rig = on_trial()
    other = Rig(same, floor=rig._job.floor)
    other.runner.step()
    rig.runner.step()
    other.send("1")
    for _ in range(5):
        rig.runner.step()
        other.runner.step()
    assert other.values() == []
    for _ in range(40):
        rig.runner.step()
        other.runner.step()
    assert is_at_work(rig)
    assert other.values() == []

    assert isinstance(rig.broker.clock, ManualClock)
    rig.clock.advance(crashes.PATIENCE + 1)
    for _ in range(4):
        rig.runner.step()
        other.step()

    assert other.values() == ["1"]
    rig.step()
    assert (note(rig).suspect, note(rig).tries) == (7, 0)


def test_what_goes_on_beside_others_is_named_before_it_can_end_the_worker() -> None:
    rig = on_trial()
    assert isinstance(rig.broker.clock, ManualClock)
    while len(rig.values()) < 3:
        rig.runner.step()

    rig.clock.advance(crashes.PATIENCE + 1)
    while not is_at_work(rig):
        rig.runner.step()

    assert (note(rig).suspect, note(rig).tries) == (rig.committed(), 0)


def test_pipelines_of_a_process_that_both_try_messages_wait_for_each_other_only_in_turn() -> None:
    first = on_trial()
    second = on_trial(first._job.floor)
    for _ in range(100):
        first.runner.step()
        second.runner.step()

    assert (is_at_work(first), is_at_work(second)) == (True, False)


def test_a_message_waits_until_the_other_pipelines_have_nothing_at_work() -> None:
    rig = on_trial()
    other = Rig(same, floor=rig._job.floor)
    other.pool.stuck = {b"1"}
    other.runner.step()
    other.send("1")
    other.runner.step()
    assert other.pool.outstanding
    for _ in range(30):
        rig.runner.step()
        other.runner.step()
    before = rig.values()

    other.pool.stuck = set()
    for _ in range(60):
        rig.runner.step()
        other.runner.step()

    assert before == []
    assert is_at_work(rig)


def test_a_pipeline_that_cannot_deliver_is_not_waited_for() -> None:
    rig = on_trial()
    other = Rig(same, floor=rig._job.floor, queue=1)
    other.runner.step()
    other.send("1", "2", "3")
    other.producer.hold_deliveries()
    other.step()
    assert other.runner.committer.outbox

    for _ in range(60):
        rig.runner.step()
        other.runner.step()

    assert is_at_work(rig)


def test_a_pipeline_that_reads_again_lets_the_others_go_on_meanwhile() -> None:
    rig = on_trial()
    rig.producer.fail_next()
    other = Rig(same, floor=rig._job.floor)
    other.runner.step()
    other.send("1")
    for _ in range(10):
        rig.runner.step()
        other.runner.step()

    assert rig.runner.blocked
    assert other.values() == ["1"]
    rig.clock.advance(1.0)
    for _ in range(60):
        rig.runner.step()
        other.runner.step()
    assert is_at_work(rig)
    assert note(rig)[1:4] == (2, 7, 1)


def test_a_message_that_cannot_be_named_waits_until_it_can() -> None:
    rig = on_trial()
    rig.runner.step()
    rig.consumer.fail_commits(times=2)
    for _ in range(5):
        rig.runner.step()
    before = rig.values()

    for _ in range(20):
        rig.clock.advance(1.0)
        rig.runner.step()

    assert len(before) <= 1
    assert rig.values() == numbers(7)


def test_where_nothing_more_is_in_doubt_the_partition_is_as_all_others() -> None:
    rig = on_trial()
    rig.pool.stuck = set()

    for _ in range(120):
        rig.runner.step()
    rig.step()

    assert rig.values() == numbers(50)
    assert rig.runner.partitions[SOURCE].note.starts == 0
    rig.send(*numbers(50))
    rig.runner.step()
    rig.runner.step()
    assert rig.values() == numbers(50) * 2


def noted(metadata: str, ordering: str = "key") -> Rig:
    """A worker that finds this beside offset 0, and 10 messages."""
    rig = rig_of(ordering)
    rig.pool.stuck = set()
    rig.broker.commit(GROUP, SOURCE, 0, metadata)
    rig.send(*numbers(10))
    return rig


def test_a_suspect_comes_before_all_others() -> None:
    rig = noted("sw1:oanother,s2,c0,x5,t1")

    rig.step(60)

    assert rig.values() == ["5", *numbers(5), *numbers(10)[6:]]


def test_a_suspect_that_took_the_worker_along_from_apart_is_tried_alone() -> None:
    rig = noted("sw1:oanother,s2,c0,x5,t1")
    apart = Apart(rig, ends=True)
    rig._job = replace(rig._job, apart=lambda: apart)
    rig.restart()
    while not apart.given:
        rig.runner.step()
    assert note(rig).apart

    rig.restart()
    rig.step(60)

    assert apart.given == [b"5"]
    assert rig.values("dlq") == []
    assert rig.values()[0] == "5"


def test_a_partition_that_moves_is_not_counted() -> None:
    rig = rig_of(partitions=2)
    rig.runner.step()
    other = Rig(same, DEAD, rig.broker, partitions=2)
    for _ in range(3):
        rig.runner.step()
        other.runner.step()

    (moved,) = other.runner.partitions
    assert note(rig, moved.partition) == Note(other.floor.process)


def test_kills_of_a_worker_with_nothing_to_do_are_no_reason_to_try_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = rig_of()
    for _ in range(4):
        rig.runner.step()
        rig.restart()
    rig.runner.step()

    rig.send(*numbers(5))
    rig.runner.step()

    assert rig.runner.partitions[SOURCE].note.starts < crashes.ALONE_FROM
    assert "in a row" not in caplog.text


def test_a_message_on_trial_that_fails_is_tried_again_in_place_as_ever() -> None:
    failures = ["once"]

    def fails(payload: int) -> int:
        if payload == 3 and failures:
            failures.pop()
            raise OSError
        return payload

    rig = Rig(fails, {**DEAD, "retry": {"attempts": 2}})
    rig.broker.commit(GROUP, SOURCE, 0, "sw1:oanother,s1")
    rig.send(*numbers(10))

    for _ in range(10):
        rig.step(20)

    assert rig.counts.retried == 1
    assert rig.values() == numbers(10)
    assert rig.values("dlq") == []


def test_messages_are_tried_no_faster_than_the_rate_allows() -> None:
    rig = rig_of(rate_limit="10/s", dead_letter="dlq")
    rig.send(*numbers(50))
    for _ in range(2):
        for _ in range(5):
            rig.runner.step()
        rig.restart()
    rig.pool.stuck = set()

    before = len(rig.values())
    for _ in range(100):
        rig.runner.step()
    at_once = len(rig.values()) - before
    rig.clock.advance(0.5)
    for _ in range(100):
        rig.runner.step()

    assert 1 <= at_once <= 2
    assert 1 <= len(rig.values()) - before - at_once <= 2


def test_a_broker_that_takes_no_metadata_has_no_such_protection() -> None:
    rig = rig_of()
    rig.send(*numbers(10))
    for _ in range(5):
        rig.consumer.fail_commits("OFFSET_METADATA_TOO_LARGE: too long")
        for _ in range(10):
            rig.runner.step()
        rig.restart()

    assert rig.values("dlq") == []
