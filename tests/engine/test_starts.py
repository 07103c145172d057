"""Members that begin a group at the same time, in the orders in which it can happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from worker.engine.starts import starts_of
from worker.ports import Commits, Offsets
from worker.testing import ManualClock, MemoryBroker
from worker.testing.memory.consumer import MemoryConsumer
from worker.types import Commit, TopicPartition

MINE, THEIRS = TopicPartition("source", 0), TopicPartition("source", 1)


class Member:
    """Whatever a member asks for or commits, with something happening right before the call."""

    def __init__(self, consumer: MemoryConsumer, before: Mapping[int, Callable[[], None]]) -> None:
        self._consumer = consumer
        self._before = before
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        if name in {"find", "group_offsets", "commit"}:
            self._before.get(self.calls, lambda: None)()
            self.calls += 1
        return getattr(self._consumer, name)


class Told:
    """A listener that nobody is told anything by."""

    def admitted(self) -> None: ...
    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        return dict.fromkeys(committed, 0)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None: ...
    def lost(self, partitions: Sequence[TopicPartition]) -> None: ...
    def offset_lost(self, partition: TopicPartition) -> None: ...
    def committed(self, commits: Commits, error: str | None) -> None: ...


def begin(consumer: Any, source: TopicPartition) -> int:
    return starts_of(consumer, [source], "newest", ["source"], ["source"])[source]


@pytest.mark.parametrize("moment", range(4))
def test_neither_reads_what_was_there_nor_skips_what_comes_after_the_first_has_begun(
    moment: int,
) -> None:
    broker = MemoryBroker(ManualClock())
    broker.create("source", 2)
    for source in (MINE, THEIRS):
        for value in (b"old", b"older"):
            broker.append("source", value, partition=source.partition)
    consumers = [broker.consumer("group"), broker.consumer("group")]
    for consumer in consumers:
        consumer.subscribe(["source"], Told())
        consumer.poll(1, 0.0)
    started: dict[TopicPartition, int] = {}

    def other_begins() -> None:
        started[THEIRS] = begin(consumers[1], THEIRS)
        for source in (MINE, THEIRS):
            broker.append("source", b"new", partition=source.partition)

    member = Member(consumers[0], {moment: other_begins})
    started[MINE] = begin(member, MINE)

    assert started == {MINE: 2, THEIRS: 2}
    assert broker.committed("group") == {MINE: 2, THEIRS: 2}
    assert member.calls > moment
