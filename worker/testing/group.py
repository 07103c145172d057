"""A consumer group with cooperative, sticky assignment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from worker.ports import METADATA_TOO_LARGE, Commits
from worker.settings.patterns import reads
from worker.types import Commit, TopicPartition

METADATA_LIMIT = 4_096
"""`offset.metadata.max.bytes` of a broker: so many characters are too many."""


class Member:
    """One member: what it has and what it is to have."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.topics = frozenset(topics)
        """Names and patterns."""
        self.owned: set[TopicPartition] = set()
        self.target: set[TopicPartition] = set()
        self.welcomed = False
        """Whether the member was told its first assignment."""
        self.expired = False
        """Whether the group takes the member for dead; it commits no more."""

    def reads(self, partition: TopicPartition) -> bool:
        """Whether the member has subscribed to the topic of this partition."""
        return reads(self.topics, partition.topic)


class Group:
    """Members, generations and committed offsets of one group."""

    def __init__(self) -> None:
        self.generation = 0
        self.committed: dict[TopicPartition, Commit] = {}
        self._members: list[Member] = []
        self._partitions: list[TopicPartition] = []

    def join(self, topics: Sequence[str]) -> Member:
        """Add a member; it gets partitions when those that own them have given them back."""
        member = Member(topics)
        self._members.append(member)
        self._rebalance()
        return member

    def leave(self, member: Member) -> None:
        """Remove a member and free what it owns."""
        self._members.remove(member)
        member.owned.clear()
        self._rebalance()

    def expire(self, member: Member) -> None:
        """Remove a member that was not heard of; it does not know yet."""
        member.expired = True
        self.leave(member)

    def offer(self, partitions: Iterable[TopicPartition]) -> None:
        """Distribute these partitions, all that there are, from now on."""
        self._partitions = sorted(partitions)
        self._rebalance()

    def reassign(self, partition: TopicPartition, member: Member) -> None:
        """Give a partition to another member, as assignors may: they promise no place to any."""
        self.generation += 1
        for one in self._members:
            one.target.discard(partition)
        member.target.add(partition)

    def leaving(self, member: Member) -> list[TopicPartition]:
        """Partitions that the member has to give back."""
        return sorted(member.owned - member.target)

    def release(self, member: Member, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions back from a member."""
        member.owned.difference_update(partitions)

    def arriving(self, member: Member) -> list[TopicPartition]:
        """What the member is to have and nobody owns any more."""
        taken = set().union(*(other.owned for other in self._members))
        return sorted(member.target - taken)

    def claim(self, member: Member) -> list[TopicPartition]:
        """Give the member what arrives."""
        arriving = self.arriving(member)
        member.owned.update(arriving)
        return arriving

    def refusal(self, member: Member | None, commits: Commits) -> str | None:
        """Why a member may not commit these; None where it may."""
        if member not in self._members:
            return "UNKNOWN_MEMBER_ID: this consumer is no member of its group"
        if any(len(commit.metadata) >= METADATA_LIMIT for commit in commits.values()):
            return f"{METADATA_TOO_LARGE}: {METADATA_LIMIT} characters and more are not taken"
        return None

    def _rebalance(self) -> None:
        self.generation += 1
        before = {m: sorted(m.owned or m.target) for m in self._members}
        free = [p for p in self._partitions if any(m.reads(p) for m in self._members)]
        share, extra = divmod(len(free), len(self._members) or 1)
        for member in sorted(self._members, key=lambda m: -len(before[m])):
            kept = [p for p in before[member] if p in free and member.reads(p)]
            member.target = set(kept[: share + (extra > 0)])
            extra -= len(member.target) > share
            free = [p for p in free if p not in member.target]
        for partition in free:
            wanting = [m for m in self._members if m.reads(partition)]
            min(wanting, key=lambda m: len(m.target)).target.add(partition)
