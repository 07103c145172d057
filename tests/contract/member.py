"""A member of a group that writes down what it is told and checks what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from tests.contract.rig import Rig
from worker.ports import Commits, Consumer, Offsets, Place
from worker.types import Commit, Isolation, Message, TopicPartition

DEADLINE = 30.0
"""Seconds after which what a test waits for has failed to come."""

Event = tuple[str, tuple[TopicPartition, ...]]


class Member:
    """A consumer with its journal; implements `ports.Rebalance`."""

    def __init__(self, name: str, consumer: Consumer, journal: list[tuple[str, Event]]) -> None:
        self.name = name
        self.consumer = consumer
        self.start: Place = "oldest"
        self.journal = journal
        self.owned: dict[TopicPartition, int | None] = {}
        """Committed offsets of the partitions, as they came in with the assignment."""
        self.metadata: dict[TopicPartition, str] = {}
        """What came in beside them."""
        self.received: list[Message] = []
        self.commits: list[tuple[Commits, str | None]] = []
        self.offsets_lost: list[TopicPartition] = []
        self.assignments = 0
        self.admissions = 0
        self.when_assigned: Callable[[], None] = lambda: None
        self.when_revoked: Callable[[Sequence[TopicPartition]], None] = lambda _partitions: None
        self.when_lost: Callable[[TopicPartition], None] = lambda _partition: None

    @property
    def events(self) -> list[Event]:
        return [event for name, event in self.journal if name == self.name]

    @property
    def values(self) -> list[bytes | None]:
        return [message.value for message in self.received]

    def poll(self, limit: int = 500) -> None:
        fetches = self.consumer.poll(limit, 0.1)
        assert sum(len(fetch.messages) for fetch in fetches) <= limit
        for fetch in fetches:
            assert fetch.source in self.owned, f"{fetch.source} is not owned by {self.name}"
            messages = list(map(Message, fetch.messages))
            assert {message.source for message in messages} == {fetch.source}
            payloads = [part for m in messages for part in (m.key, m.value)]
            assert fetch.size == sum(len(part or b"") for part in payloads)
            self.received += messages

    # --- ports.Rebalance ---

    def admitted(self) -> None:
        self.admissions += 1

    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        self.assignments += 1
        assert self.admissions >= self.assignments, "it is admitted before each"
        self._note("assigned", list(committed))
        self.owned |= {p: commit and commit.offset for p, commit in committed.items()}
        self.metadata |= {p: commit.metadata for p, commit in committed.items() if commit}
        self.when_assigned()
        fresh = [partition for partition, commit in committed.items() if commit is None]
        starts = dict(self.consumer.find(fresh, self.start)) if fresh else {}
        return starts | {p: commit.offset for p, commit in committed.items() if commit}

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._note("revoked", partitions)
        self.when_revoked(partitions)
        for partition in partitions:
            del self.owned[partition]

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        self._note("lost", partitions)
        for partition in partitions:
            del self.owned[partition]

    def offset_lost(self, partition: TopicPartition) -> None:
        self.offsets_lost.append(partition)
        self.when_lost(partition)

    def committed(self, commits: Commits, error: str | None) -> None:
        self.commits.append((commits, error))

    def _note(self, what: str, partitions: Sequence[TopicPartition]) -> None:
        self.journal.append((self.name, (what, tuple(sorted(partitions)))))


class Members:
    """The members of a test, closed at its end."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._members: list[Member] = []
        self.journal: list[tuple[str, Event]] = []

    def join(
        self,
        group: str,
        *topics: str,
        start: Place = "oldest",
        isolation: Isolation = "read_committed",
        instance: str | None = None,
        mortal: bool = False,
    ) -> Member:
        consumer = self._rig.consumer(group, isolation=isolation, instance=instance, mortal=mortal)
        member = Member(f"member {len(self._members)}", consumer, self.journal)
        member.start = start
        self._members.append(member)
        consumer.subscribe(topics, member)
        return member

    def settled(
        self, group: str, *topics: str, start: Place = "oldest", mortal: bool = False
    ) -> Member:
        """A member that has its first assignment."""
        member = self.join(group, *topics, start=start, mortal=mortal)
        until(lambda: member.assignments > 0, member, limit=1)
        return member

    @property
    def all(self) -> Sequence[Member]:
        """Every member that has joined, be it closed."""
        return self._members

    def close(self) -> None:
        for member in self._members:
            member.when_revoked = lambda _partitions: None
            member.consumer.close()


def until(condition: Callable[[], object], *members: Member, limit: int = 500) -> None:
    """Poll the members in turn until the condition holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, (
            f"not within {DEADLINE} s: {[m.events for m in members]}"
        )
        for member in members:
            member.poll(limit)
