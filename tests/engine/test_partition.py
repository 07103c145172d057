"""One assignment of a partition: what is finished of what was fetched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.partition import POLL_LIMIT, Finished, Partition, Run, together
from worker.flow import envelope
from worker.flow.lanes import KeyLanes, NoLanes, OneLane
from worker.flow.offsets import ranges_of
from worker.flow.pressure import Share
from worker.types import (
    Done,
    Failed,
    Failure,
    Fetch,
    Outcome,
    RawMessage,
    StoredMessage,
    TopicPartition,
)


def pieces(messages: list[RawMessage], sizes: list[int]) -> list[list[RawMessage]]:
    """The messages cut into pieces of these sizes in turn."""
    cut: list[list[RawMessage]] = []
    while messages:
        size = sizes[len(cut) % len(sizes)]
        cut.append(messages[:size])
        messages = messages[size:]
    return cut


def test_of_what_one_poll_holds_twice_the_first_is_taken() -> None:
    offsets = [5, 6, 7, 5, 6, 7, 8, 10]
    messages: list[RawMessage] = [
        StoredMessage("topic", offset=offset, value=b"x") for offset in offsets
    ]
    partition = Partition(TopicPartition("topic", 0), 5, None, OneLane())

    taken = partition.take(Fetch(partition.source, messages, len(messages)))

    assert [one.offset() for one in taken.messages] == [5, 6, 7, 8, 10]
    assert (partition.in_flight, partition.size) == (5, 5)


@given(
    steps=st.lists(st.integers(1, 4), min_size=1, max_size=40),
    fetches=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    runs=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    direction=st.sampled_from([1, -1]),
)
def test_wherever_gaps_fetches_and_runs_meet_everything_finished_is_committable(
    steps: list[int], fetches: list[int], runs: list[int], direction: int
) -> None:
    offsets = [sum(steps[: index + 1]) for index in range(len(steps))]
    messages: list[RawMessage] = [
        StoredMessage("topic", offset=offset, value=b"x") for offset in offsets
    ]
    partition = Partition(TopicPartition("topic", 0), 0, None, OneLane())

    for fetch in pieces(messages, fetches):
        partition.take(Fetch(partition.source, fetch, len(fetch)))
    for chunk in pieces(messages, runs)[::direction]:
        partition.finish(ranges_of(one.offset() for one in chunk))
        partition.let_go(len(chunk), len(chunk))

    assert partition.tracker.committable == offsets[-1] + 1
    assert partition.tracker.ranges() == []
    assert (partition.in_flight, partition.size) == (0, 0)


def test_a_partition_that_holds_its_share_is_read_on_when_it_is_down_to_half() -> None:
    partition = Partition(TopicPartition("topic", 0), 0, None, OneLane())
    messages: list[RawMessage] = [StoredMessage("topic", offset=n) for n in range(11)]
    partition.take(Fetch(partition.source, messages, 110))

    held = []
    for waiting in range(10, 3, -1):
        run = partition.lanes.take(1)
        partition.lanes.release(run, 1)
        partition.finish(ranges_of([10 - waiting]))
        partition.let_go(1, 10)
        partition.hold(Share(9, 1_000))
        held.append((waiting, partition.held))

    assert held == [(n, n > 4) for n in range(10, 3, -1)]


def test_a_partition_whose_map_could_grow_too_long_is_read_on_at_half_of_what_is_at_work() -> None:
    partition = Partition(TopicPartition("topic", 0), 0, None, NoLanes())
    messages: list[RawMessage] = [StoredMessage("topic", offset=n) for n in range(30_000)]
    partition.take(Fetch(partition.source, messages, 0))
    partition.lanes.take(30_000)

    held = []
    for left in range(1_000, 0, -10):
        partition.finish([(left + 1, 30_000)])
        partition.let_go(partition.in_flight - left, 0)
        partition.hold(Share(10_000, 1_000))
        held.append((left, partition.held))

    first = next(left for left, is_held in held if not is_held)
    assert held == [(left, left > first) for left, _ in held]
    fits = [left for left in range(1_000) if envelope.fits(30_500, left + POLL_LIMIT)]
    assert abs(first - fits[-1] // 2) <= 10


def test_runs_that_came_back_whole_are_settled_as_one_in_front_of_one_with_failures() -> None:
    partition = Partition(TopicPartition("topic", 0), 0, None, KeyLanes())
    outcomes: list[Outcome] = [Done(()), Failed(Failure("rejected")), Done(())]
    runs = [Run(partition, [StoredMessage("topic", offset=n)]) for n in range(3)]

    settled = together(
        [Finished(run, [outcome]) for run, outcome in zip(runs, outcomes, strict=True)]
    )

    offsets = [[message.offset() for message in one.run.messages] for one in settled]
    assert offsets == [[0, 2], [1]]
