"""One assignment of a partition: what is finished of what was fetched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.partition import Finished, Partition, Run, together
from worker.flow.lanes import KeyLanes, OneLane
from worker.flow.offsets import ranges_of
from worker.types import (
    Done,
    Failure,
    Fetch,
    Outcome,
    RawMessage,
    Stop,
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
        partition.finish(ranges_of(message.offset() for message in chunk), len(chunk))

    assert partition.tracker.committable == offsets[-1] + 1
    assert partition.tracker.ranges() == []
    assert (partition.in_flight, partition.size) == (0, 0)


def test_runs_that_came_back_whole_are_settled_as_one_in_front_of_one_that_stops() -> None:
    partition = Partition(TopicPartition("topic", 0), 0, None, KeyLanes())
    outcomes: list[Outcome] = [Done(()), Stop(Failure("rejected")), Done(())]
    runs = [Run(partition, [StoredMessage("topic", offset=n)]) for n in range(3)]

    settled = together(
        [Finished(run, [outcome]) for run, outcome in zip(runs, outcomes, strict=True)]
    )

    offsets = [[message.offset() for message in one.run.messages] for one in settled]
    assert offsets == [[0, 2], [1]]
