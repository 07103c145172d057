"""What the clients in memory share: topics, groups, one lock and one clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.errors import ClientError
from worker.ports import Clock
from worker.testing.clock import ManualClock
from worker.testing.coordinator import Coordinator
from worker.testing.group import Group
from worker.testing.log import Log, partition_of
from worker.types import Encoded, TopicPartition


def nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(slots=True)
class Topic:
    """A topic; `max_message_bytes` bounds key, value and headers of one record."""

    logs: list[Log]
    max_message_bytes: int
    _turn: int = field(default=-1)

    def choose(self, key: bytes | None) -> int:
        """Choose the partition of a record: by its key, without one in turn."""
        if key is not None:
            return partition_of(key, len(self.logs))
        self._turn = (self._turn + 1) % len(self.logs)
        return self._turn


class Cluster:
    """The shared state; whoever reads or changes it holds `lock`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.lock = threading.Condition()
        self.topics: dict[str, Topic] = {}
        self.groups: dict[str, Group] = {}
        self.up = True
        """Whether the brokers answer."""
        self.why_refused: Callable[[Encoded], str | None] = nothing
        """Why the brokers do not take a record, as a test says."""
        self.changes = 0
        self.transactions = Coordinator(self.clock)

    def make(self, name: str, partitions: int, max_message_bytes: int) -> None:
        """Add a topic and offer it to every group."""
        self.topics[name] = Topic([], max_message_bytes)
        self.grow(name, partitions)

    def grow(self, name: str, partitions: int) -> None:
        """Let a topic have so many partitions and offer them to every group."""
        logs = self.topics[name].logs
        logs += [Log(TopicPartition(name, number)) for number in range(len(logs), partitions)]
        for group in self.groups.values():
            group.offer(self.partitions())
        self.changed()

    def group(self, name: str) -> Group:
        """Look up a group; it is made when it is asked for first."""
        if name not in self.groups:
            self.groups[name] = Group()
            self.groups[name].offer(self.partitions())
        return self.groups[name]

    def log(self, source: TopicPartition) -> Log:
        """Look up the log of a partition, as it is by now; raises `ClientError` without one."""
        self.transactions.expire()
        topic = self.topics.get(source.topic)
        if topic is None or not 0 <= source.partition < len(topic.logs):
            raise ClientError(f"UNKNOWN_TOPIC_OR_PART: {source} does not exist")
        return topic.logs[source.partition]

    def changed(self) -> None:
        """Wake who waits for something to happen."""
        self.changes += 1
        self.lock.notify_all()

    def wait(self, seen: int, deadline: float) -> bool:
        """Wait for a change after the `seen` one; False when the time is over.

        Under a manual clock what is not there now is not there, unless that says otherwise.
        """
        if isinstance(self.clock, ManualClock):
            return self.clock.wait(deadline)
        remaining = deadline - self.clock.monotonic()
        with self.lock:
            if self.changes != seen:
                return remaining > 0
            return remaining > 0 and self.lock.wait(remaining)

    def partitions(self) -> list[TopicPartition]:
        """List the partitions of all topics."""
        return [log.source for topic in self.topics.values() for log in topic.logs]
