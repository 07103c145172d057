"""A consumer of the memory broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from worker.errors import ClientError, ClientFatal, CommitFailed, Fenced
from worker.flow.stuck import Repair
from worker.ports import Commits, Membership, Offsets, Place, Rebalance
from worker.settings import GroupSettings
from worker.settings.patterns import is_pattern, unmatched
from worker.settings.simulation import ClientCall
from worker.testing.memory.cluster import Cluster, nothing
from worker.testing.memory.group import Group, Member, refused
from worker.types import (
    ClientTotals,
    Commit,
    Fetch,
    Isolation,
    StoredMessage,
    TopicPartition,
    bytes_of,
)


@dataclass(slots=True)
class Position:
    """Where a consumer is in one partition."""

    offset: int
    paused: bool = False
    astray: bool = False
    """Whether the offset is outside the log and a seek is waited for."""


class MemoryConsumer:
    """Implements `ports.Consumer`; the methods after `close` inject faults."""

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        isolation: Isolation,
        settings: GroupSettings,
        instance: str | None,
    ) -> None:
        self._cluster = cluster
        self._group = cluster.group(group)
        self._isolation = isolation
        self._settings = settings
        self._instance = instance
        self._member: Member | None = None
        self._rebalance: Rebalance | None = None
        self._positions: dict[TopicPartition, Position] = {}
        self._waiting: deque[tuple[Commits, Membership]] = deque()
        self._answers: deque[tuple[Commits, str | None]] = deque()
        self._commit_errors: deque[str] = deque()
        self._stopped: dict[TopicPartition, Repair | None] = {}
        """Partitions that give nothing, and what helps."""
        self.denied: str | None = None
        """Nothing, if a test does not say so."""
        self.before: Callable[[ClientCall], object] = nothing
        """What a test has happen first at each call."""
        self._failure: ClientError | None = None
        self._closed = False
        self.received = 0
        """Messages that were returned so far."""
        self._received_bytes = 0

    @property
    def last_error(self) -> str | None:
        """That no broker answers, while it is so."""
        return None if self._cluster.up else "_ALL_BROKERS_DOWN: no broker answers"

    @property
    def connected(self) -> bool:
        """Whether the broker answers."""
        return self._cluster.up

    @property
    def joined(self) -> bool:
        """Whether the group has this member, as far as it knows itself."""
        member = self._member
        return not self._closed and member is not None and member.generation > 0

    @property
    def is_member(self) -> bool:
        """Whether the group has this member, be it that it lives no more."""
        return self._group.has(self._member)

    @property
    def owned(self) -> Sequence[TopicPartition]:
        """Partitions that the group says this member has."""
        return sorted(self._member.owned) if self._member is not None else ()

    def owns(self, partition: TopicPartition) -> bool:
        """Whether the group says that this member has a partition."""
        return self._member is not None and partition in self._member.owned

    @property
    def coordinated(self) -> bool:
        """Whether the broker answers."""
        return self._cluster.up

    @property
    def missing(self) -> Sequence[str]:
        """Subscribed topics that were not made."""
        wanted = self._wanted - self._cluster.topics.keys()
        return sorted(topic for topic in wanted if not is_pattern(topic))

    @property
    def unmatched(self) -> Sequence[str]:
        """Subscribed patterns that no topic matches."""
        return unmatched(sorted(self._wanted), list(self._cluster.topics))

    def totals(self) -> ClientTotals:
        """Count what was received so far."""
        return ClientTotals(messages_received=self.received, bytes_received=self._received_bytes)

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group; the assignment is told in `poll`."""
        with self._cluster.lock:
            self._rebalance = rebalance
            self._member = self._join(topics)

    def poll(self, limit: int, timeout: float) -> list[Fetch]:
        """Tell what has changed in the group, then take what is there."""
        self.before("poll")
        deadline = self._cluster.clock.monotonic() + timeout
        while True:
            seen = self._cluster.changes
            self._raise_failure()
            if self._cluster.up:
                self._follow_group()
                self._report()
            fetches = self._take(limit) if self._cluster.up else []
            if fetches or not self._cluster.wait(seen, deadline):
                return fetches

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Return nothing of these partitions."""
        self.before("pause")
        self._set_paused(partitions, paused=True)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Go on after the last message returned."""
        self.before("resume")
        for partition in partitions:
            self._cure(partition, "pause")
        self._set_paused(partitions, paused=False)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at `offset`."""
        self.before("seek")
        if partition not in self._positions:
            raise ClientError(f"{partition} is not assigned to this consumer")
        self._positions[partition] = Position(offset, self._positions[partition].paused)
        self._cure(partition, "seek")

    def assign_again(self, partition: TopicPartition, offset: int) -> None:
        """Go on at `offset`, not paused, whatever has stopped it."""
        self._positions[partition] = Position(offset)
        self._cure(partition, "assign")

    def find(self, partitions: Sequence[TopicPartition], place: Place) -> Offsets:
        """Offsets of a place; raises `ClientError` when the broker is down."""
        self.before("find")
        with self._cluster.lock:
            if not self._cluster.up:
                raise ClientError(f"_TRANSPORT: cannot find {place} while no broker answers")
            return {p: self._cluster.log(p).find(place, self._isolation) for p in partitions}

    def group_offsets(self) -> Mapping[TopicPartition, Commit | None]:
        """Tell the group's commits; raises `ClientError` when the broker is down."""
        with self._cluster.lock:
            self._require_broker()
            return self._committed(filter(self._reads, self._cluster.partitions()))

    def committed(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Commit | None]:
        """Tell the group's commits in these; raises `ClientError` when the broker is down."""
        self.before("committed")
        with self._cluster.lock:
            self._require_broker()
            return self._committed(partitions)

    def ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Tell the ends of the partitions, as of now."""
        with self._cluster.lock:
            logs = filter(None, map(self._cluster.find_log, partitions))
            return {log.source: log.end_for(self._isolation) for log in logs}

    def fetched(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Where each partition is read on: nothing is fetched ahead."""
        return self.positions(partitions)

    def positions(self, partitions: Sequence[TopicPartition]) -> Offsets:
        """Where each partition is read on; behind what is no message when no message follows."""
        with self._cluster.lock:
            return {p: self._position(p) for p in partitions if p in self._positions}

    def commit(self, commits: Commits, *, wait: bool) -> None:
        """Commit; while the broker is down an asynchronous commit waits for it."""
        self.before("commit")
        with self._cluster.lock:
            if not self._cluster.up and not wait:
                self._waiting.append((dict(commits), self.membership()))
                return
            error = self._try_commit(commits, self.membership())
            if not wait:
                self._answers.append((dict(commits), error))
            self._cluster.changed()
        if wait and error is not None:
            raise CommitFailed(error)

    def membership(self) -> Membership:
        """Who this member is to its group, and in which generation."""
        generation = 0 if self._member is None else self._member.generation
        return Membership((self._group, self._member, generation))

    def close(self) -> None:
        """Give the partitions back and leave the group."""
        if self._closed:
            return
        self._closed = True
        if self._member is None or self._rebalance is None:
            return
        owned = list(self._positions)
        if owned and self._is_shut_out:
            self._rebalance.lost(owned)
        elif owned:
            self._rebalance.revoked(owned)
        self._report()
        self._positions.clear()
        with self._cluster.lock:
            self._leave(self._member)
            self._cluster.changed()

    # --- faults ---

    def kill(self) -> None:
        """Die without a word: the partitions stand still until the group expires the member."""
        self._closed = True
        self.fail(ClientFatal("the consumer was killed"))

    def expire(self) -> None:
        """Let the group take this member for dead; one that lives is told `lost` and joins anew."""
        with self._cluster.lock:
            if self._member is None or not self.is_member:
                raise ValueError("only a member of a group can expire: subscribe first")
            self._group.expire(self._member)
            self._cluster.changed()

    def win(self, partition: TopicPartition) -> None:
        """Let the group give this member a partition, whoever has it."""
        with self._cluster.lock:
            if self._member is None or not self.is_member:
                raise ValueError("only a member of a group can win a partition: subscribe first")
            self._group.reassign(partition, self._member)
            self._cluster.changed()

    def fail(self, error: ClientError) -> None:
        """Raise this error in every later `poll`."""
        self._failure = error

    def stop_fetching(self, partition: TopicPartition, until: Repair | None = None) -> None:
        """Return nothing of a partition any more without a word, until this is done about it."""
        self._stopped[partition] = until

    def _cure(self, partition: TopicPartition, repair: Repair) -> None:
        if self._stopped.get(partition) == repair:
            del self._stopped[partition]

    def fail_commits(self, error: str = "REQUEST_TIMED_OUT", times: int = 1) -> None:
        """Refuse the next commits."""
        self._commit_errors.extend([error] * times)

    # --- within poll ---

    def _raise_failure(self) -> None:
        if self._member is not None and self._member.fenced:
            self.fail(Fenced("FENCED_INSTANCE_ID: another member has come with this instance"))
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ClientError("the consumer is closed")

    def _follow_group(self) -> None:
        if self._member is None or self._rebalance is None:
            return
        with self._cluster.lock:
            self._group.offer(self._cluster.partitions())
        if self._member.expired:
            self._rejoin(self._member, self._rebalance)
        gave = self._give_back(self._member, self._rebalance)
        if not self._is_shut_out:
            self._take_over(self._member, self._rebalance, gave=gave)

    def _join(self, topics: Sequence[str]) -> Member | None:
        self._group.offer(self._cluster.partitions())
        member = self._group.join(topics, self._settings, self._instance)
        if member is None:
            self.fail(ClientFatal(f"UNRELEASED_INSTANCE_ID: {self._instance} is still there"))
        self._cluster.changed()
        return member

    def _rejoin(self, member: Member, rebalance: Rebalance) -> None:
        lost = list(self._positions)
        self._positions.clear()
        if lost:
            rebalance.lost(lost)
        with self._cluster.lock:
            self._member = self._join(sorted(member.topics))

    def _leave(self, member: Member) -> None:
        if self._instance is not None and not self._is_shut_out:
            self._group.rest(member)
        elif not self._is_shut_out:
            self._group.leave(member)

    def _give_back(self, member: Member, rebalance: Rebalance) -> bool:
        """Give back what is to go; what is of topics that are gone is `lost`, led cooperatively."""
        with self._cluster.lock:
            leaving = self._group.leaving(member)
            if not leaving:
                return False
            gone = [p for p in leaving if self._cluster.find_log(p) is None]
        lost = gone if self._group.is_cooperative else []
        revoked = [p for p in leaving if p not in lost]
        if lost:
            rebalance.lost(lost)
        if revoked:
            rebalance.revoked(revoked)
        with self._cluster.lock:
            for partition in leaving:
                del self._positions[partition]
            self._group.release(member, leaving)
            self._cluster.changed()
        return True

    def _take_over(self, member: Member, rebalance: Rebalance, *, gave: bool) -> None:
        with self._cluster.lock:
            news = self._group.has_news(member, gave=gave)
            if not news:
                self._group.follow(member)
        if not news:
            return
        rebalance.admitted()
        with self._cluster.lock:
            if self._is_shut_out or self._cluster.transactions.pending(self._group):
                return
            committed = self._committed(self._group.claim(member))
        starts = rebalance.assigned(committed)
        missing = sorted(committed.keys() - starts.keys())
        if missing:
            raise ValueError(f"`assigned` gave no offset to start {missing[0]} at")
        for partition in committed:
            self._positions[partition] = Position(starts[partition])

    def _report(self) -> None:
        rebalance = self._rebalance
        if rebalance is None:
            return
        with self._cluster.lock:
            while self._waiting and self._cluster.up:
                commits, membership = self._waiting.popleft()
                self._answers.append((commits, self._try_commit(commits, membership)))
                self._cluster.changed()
        while self._answers:
            rebalance.committed(*self._answers.popleft())
        with self._cluster.lock:
            outside = [p for p, at in self._positions.items() if self._is_outside(p, at)]
        for partition in outside:
            self._positions[partition].astray = True
            rebalance.offset_lost(partition)

    def _is_outside(self, partition: TopicPartition, position: Position) -> bool:
        if position.astray or position.paused:
            return False
        log = self._cluster.find_log(partition)
        return log is not None and not log.start <= position.offset <= log.end

    def _take(self, limit: int) -> list[Fetch]:
        fetches: list[Fetch] = []
        with self._cluster.lock:
            for partition, position in list(self._positions.items()):
                silent = position.paused or position.astray or partition in self._stopped
                found = [] if silent else self._read(partition, limit)
                if found:
                    limit -= len(found)
                    fetches.append(_fetch(partition, found))
                    position.offset = found[-1].offset() + 1
                    self._positions[partition] = self._positions.pop(partition)
        for fetch in fetches:
            self.received += len(fetch.messages)
            self._received_bytes += fetch.size
        return fetches

    def _read(self, partition: TopicPartition, limit: int) -> list[StoredMessage]:
        log = self._cluster.find_log(partition)
        if log is None:
            return []
        return log.read(self._positions[partition].offset, limit, self._isolation)

    # --- shared ---

    def _committed(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Commit | None]:
        asked = list(partitions)
        if not self._cluster.transactions.pending(self._group).isdisjoint(asked):
            raise ClientError("UNSTABLE_OFFSET_COMMIT: a transaction with offsets is open")
        return {partition: self._group.committed.get(partition) for partition in asked}

    def _require_broker(self) -> None:
        if not self._cluster.up:
            raise ClientError("_TRANSPORT: no broker answers")

    @property
    def _wanted(self) -> frozenset[str]:
        return frozenset() if self._member is None else self._member.topics

    def _reads(self, partition: TopicPartition) -> bool:
        return self._member is not None and self._member.reads(partition)

    def _position(self, partition: TopicPartition) -> int:
        position, log = self._positions[partition], self._cluster.find_log(partition)
        if log is None or position.paused or position.astray or self._read(partition, 1):
            return position.offset
        return max(position.offset, log.end_for(self._isolation))

    @property
    def _is_shut_out(self) -> bool:
        """Whether the group has this member no more."""
        return self._member is not None and (self._member.expired or self._member.fenced)

    def _set_paused(self, partitions: Sequence[TopicPartition], *, paused: bool) -> None:
        for partition in partitions:
            if partition in self._positions:
                self._positions[partition].paused = paused

    def _try_commit(self, commits: Commits, membership: Membership) -> str | None:
        if self._commit_errors:
            return self._commit_errors.popleft()
        if not self._cluster.up:
            return "_TRANSPORT: no broker answers"
        if self._failure is not None:
            return str(self._failure)
        _, member, generation = cast("tuple[Group, Member | None, int]", membership)
        error = self._group.refusal(member, generation)
        if error is not None:
            return error
        problems = refused(commits, self._cluster.partitions())
        self._group.committed |= {p: c for p, c in commits.items() if p not in problems}
        return next(iter(problems.values()), None)


def _fetch(source: TopicPartition, found: list[StoredMessage]) -> Fetch:
    return Fetch(source, [*found], bytes_of(found))
