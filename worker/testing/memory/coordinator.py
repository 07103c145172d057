"""Who may write under which identity, and the transactions that are open."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from worker.ports import Clock, Commits
from worker.testing.memory.group import Group
from worker.testing.memory.log import Log
from worker.types import TopicPartition


@dataclass(eq=False, slots=True)
class Transaction:
    """What was written and not committed yet."""

    deadline: float
    """When the cluster aborts it, on its monotonic clock."""
    logs: set[Log] = field(default_factory=set)
    offsets: list[tuple[Group, Commits]] = field(default_factory=list)
    """What the groups have committed when it is."""


class Coordinator:
    """Coordinates transactions by the clock of the cluster."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owners: dict[str, object] = {}
        self._open: dict[object, Transaction] = {}
        """By the producer that has begun it."""

    def take_over(self, identity: str, producer: object) -> None:
        """Give an identity to a producer, and abort what its owner has left open."""
        self.end(self._owners.get(identity), commit=False)
        self._owners[identity] = producer

    def owns(self, identity: str, producer: object) -> bool:
        """Whether nobody has taken over, nor the time of a transaction was over."""
        self.expire()
        return self._owners.get(identity) is producer

    def transaction(self, producer: object, timeout: float) -> Transaction:
        """The open transaction of a producer; one that is not open is begun."""
        if producer not in self._open:
            self._open[producer] = Transaction(self._clock.monotonic() + timeout)
        return self._open[producer]

    def end(self, producer: object, *, commit: bool) -> None:
        """Commit or abort the transaction of a producer, if it has one open."""
        transaction = self._open.pop(producer, None)
        if transaction is None:
            return
        for log in transaction.logs:
            log.end_transaction(transaction, commit=commit)
        for group, commits in transaction.offsets if commit else ():
            group.committed.update(commits)

    @property
    def due(self) -> float:
        """When the time of the first open transaction is over; infinite without one."""
        return min((one.deadline for one in self._open.values()), default=inf)

    def expire(self) -> None:
        """Abort the transactions whose time is over, and shut their producers out."""
        if not self._open:
            return
        now = self._clock.monotonic()
        late = [one for one, transaction in self._open.items() if transaction.deadline <= now]
        for producer in late:
            self.end(producer, commit=False)
        for identity, owner in self._owners.items():
            if owner in late:
                self._owners[identity] = None

    def pending(self, group: Group) -> set[TopicPartition]:
        """Partitions of which a group has offsets in an open transaction."""
        self.expire()
        return {
            partition
            for transaction in self._open.values()
            for owner, commits in transaction.offsets
            if owner is group
            for partition in commits
        }
