"""What the clients in memory share: topics, groups, one lock and one clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from worker.errors import ClientError
from worker.ports import Clock
from worker.testing.clock import ManualClock
from worker.testing.memory.coordinator import Coordinator
from worker.testing.memory.group import Group
from worker.testing.memory.log import Log, partition_of
from worker.types import Encoded, TopicPartition


def nothing(*_: object) -> None:
    """Do nothing."""


HOUR = 3_600_000
"""How far, in milliseconds, a record may be dated ahead where its topic says nothing else."""


@dataclass(eq=False)
class Topic:
    """A topic; one that is made anew under its name is another."""

    logs: list[Log]
    max_message_bytes: int
    """So large, as the broker writes it, may a batch be."""
    config: Mapping[str, str] = field(default_factory=dict)
    """What else was said of it."""
    _turn: int = field(default=-1)

    @property
    def is_compacted(self) -> bool:
        """Whether only the last record of each key is kept, so that each needs one."""
        return "compact" in self.config.get("cleanup.policy", "")

    @cached_property
    def retention(self) -> int:
        """For how many milliseconds records are kept; negative for good."""
        return int(self.config.get("retention.ms", -1))

    @property
    def ahead(self) -> int:
        """How many milliseconds a record may be dated ahead."""
        return int(self.config.get("message.timestamp.after.max.ms", HOUR))

    def dated(self, timestamp: int | None, now: int) -> int:
        """The time of a record, in milliseconds: its own, or that of the broker."""
        if timestamp is None or self.config.get("message.timestamp.type") == "LogAppendTime":
            return now
        return timestamp

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
        self.lock = threading.RLock()
        self.topics: dict[str, Topic] = {}
        self.groups: dict[str, Group] = {}
        self.up = True
        """Whether the brokers answer."""
        self.why_refused: Callable[[Encoded], str | None] = nothing
        """Why the brokers do not take a record, as a test says."""
        self.changes = 0
        self._change = threading.Condition(self.lock)
        self.transactions = Coordinator(self.clock)
        self._partitions: Mapping[TopicPartition, Topic] = {}

    def grow(self, name: str, partitions: int) -> None:
        """Let a topic have so many partitions; groups find them with their next poll."""
        logs = self.topics[name].logs
        logs += [Log(TopicPartition(name, number)) for number in range(len(logs), partitions)]
        self.relist()

    def relist(self) -> None:
        """Look anew which partitions there are."""
        self._partitions = {log.source: t for t in self.topics.values() for log in t.logs}
        self.changed()

    def group(self, name: str) -> Group:
        """Look up a group; it is made when it is asked for first."""
        if name not in self.groups:
            self.groups[name] = Group()
        return self.groups[name]

    def find_log(self, source: TopicPartition) -> Log | None:
        """Look up the log of a partition, as it is by now."""
        self.transactions.expire()
        topic = self.topics.get(source.topic)
        if topic is None or not 0 <= source.partition < len(topic.logs):
            return None
        log = topic.logs[source.partition]
        if topic.retention >= 0:
            log.expire(self.now() - topic.retention)
        return log

    def log(self, source: TopicPartition) -> Log:
        """Look up the log of a partition, as it is by now; raises `ClientError` without one."""
        log = self.find_log(source)
        if log is None:
            raise ClientError(f"UNKNOWN_TOPIC_OR_PART: {source} does not exist")
        return log

    def now(self) -> int:
        """Milliseconds since 1970."""
        return int(self.clock.time() * 1000)

    def changed(self) -> None:
        """Wake who waits for something to happen."""
        self.changes += 1
        self._change.notify_all()

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
            return remaining > 0 and self._change.wait(remaining)

    def partitions(self) -> Mapping[TopicPartition, Topic]:
        """List the partitions of all topics, each with the topic that it is one of."""
        return self._partitions
