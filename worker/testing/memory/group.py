"""A consumer group: its members, its generations, and what it has committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from worker.ports import METADATA_TOO_LARGE, Commits
from worker.settings import GroupSettings
from worker.settings.patterns import reads
from worker.testing.memory.assignors import ASSIGNORS
from worker.types import Commit, TopicPartition

METADATA_LIMIT = 4_096
"""`offset.metadata.max.bytes` of a broker: so many characters are too many."""


class Member:
    """One member: what it has and what it is to have."""

    def __init__(self, topics: Sequence[str], instance: str | None = None) -> None:
        self.topics = frozenset(topics)
        """Names and patterns."""
        self.instance = instance
        """By which a static member is known again."""
        self.owned: set[TopicPartition] = set()
        self.target: set[TopicPartition] = set()
        self.outdated: set[TopicPartition] = set()
        """What it owns of topics that were made anew."""
        self.generation = 0
        """That of the last assignment it was told; 0 before the first."""
        self.expired = False
        """Whether the group takes the member for dead; it commits no more."""
        self.fenced = False
        """Whether another has come with its instance."""

    @property
    def held(self) -> Sequence[TopicPartition]:
        """What it has, or is to have."""
        return sorted(self.owned or self.target)

    def reads(self, partition: TopicPartition) -> bool:
        """Whether the member has subscribed to the topic of this partition."""
        return reads(self.topics, partition.topic)


class Group:
    """Members, generations and committed offsets of one group.

    Its members are led as the first one wants it: cooperatively, eagerly (everybody gives back
    everything before anybody gets anything), or by the broker (KIP-848).
    """

    def __init__(self) -> None:
        self.generation = 0
        self.committed: dict[TopicPartition, Commit] = {}
        self._settings = GroupSettings()
        self._members: list[Member] = []
        self._partitions: Mapping[TopicPartition, object] = {}

    @property
    def by_broker(self) -> bool:
        """Whether the broker leads: with the protocol `consumer`, KIP-848."""
        return self._settings.protocol == "consumer"

    @property
    def is_cooperative(self) -> bool:
        """Whether members lead, and leave those partitions running that do not move."""
        return not self.by_broker and self._settings.rebalance == "sticky"

    @property
    def is_eager(self) -> bool:
        """Whether a rebalance takes everything from everybody."""
        return not self.by_broker and self._settings.rebalance != "sticky"

    def join(
        self, topics: Sequence[str], settings: GroupSettings, instance: str | None = None
    ) -> Member | None:
        """Add a member; it gets partitions when those that own them have given them back.

        A static one has the place of its instance again: who is still there is fenced, but led by
        the broker nobody joins then.
        """
        if not self._members:
            self._settings = settings
        member = Member(topics, instance)
        former = next((m for m in self._members if instance and m.instance == instance), None)
        if former is None:
            self._members.append(member)
            self.rebalance()
            return member
        if former.owned and self.by_broker:
            return None
        member.target, former.fenced = former.target, True
        self._members[self._members.index(former)] = member
        return member

    def has(self, member: Member | None) -> bool:
        """Whether the group has this member, be it that it lives no more."""
        return member in self._members

    def has_instance(self, instance: str | None) -> bool:
        """Whether a member has this instance, be it that it is closed."""
        return any(member.instance == instance for member in self._members)

    def leave(self, member: Member) -> None:
        """Remove a member and free what it owns."""
        self._members.remove(member)
        member.owned.clear()
        self.rebalance()

    def rest(self, member: Member) -> None:
        """Take everything back from a static member, and keep its place."""
        member.owned.clear()

    def expire(self, member: Member) -> None:
        """Remove a member that was not heard of; it does not know yet."""
        member.expired = True
        self.leave(member)

    def offer(self, partitions: Mapping[TopicPartition, object]) -> None:
        """Distribute these partitions, all that there are, by what their topics are known by."""
        if partitions is self._partitions:
            return
        before, self._partitions = self._partitions, partitions
        if self.by_broker:
            anew = {p for p in partitions if before.get(p, partitions[p]) != partitions[p]}
            for member in self._members:
                member.outdated |= member.owned & anew
        if self._read_of(before) != self._read_of(partitions):
            self.rebalance()

    def forget(self, topic: str) -> None:
        """Drop what is committed in a topic."""
        self.committed = {p: c for p, c in self.committed.items() if p.topic != topic}

    def rebalance(self) -> None:
        """Share all partitions among the members anew."""
        self.generation += 1
        assign = ASSIGNORS[self._settings.rebalance]
        shares = assign(self._members, sorted(self._partitions))
        for member in self._members:
            member.target = set(shares[member])

    def reassign(self, partition: TopicPartition, member: Member) -> None:
        """Give a partition to another member, as assignors may: they promise no place to any."""
        self.generation += 1
        for one in self._members:
            one.target.discard(partition)
        member.target.add(partition)

    def leaving(self, member: Member) -> list[TopicPartition]:
        """Partitions that the member has to give back."""
        if self.is_eager and member.generation != self.generation:
            return sorted(member.owned)
        if member.owned <= member.target and not member.outdated:  # as mostly
            return []
        return sorted(member.owned - member.target | member.outdated)

    def release(self, member: Member, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions back from a member; those who wait for them are told in a new round."""
        member.owned.difference_update(partitions)
        member.outdated.difference_update(partitions)
        if not self.is_eager:
            self.generation += 1

    def arriving(self, member: Member) -> list[TopicPartition]:
        """What the member is to have and nobody owns any more."""
        if self._is_emptying:
            return []
        taken = set().union(*(other.owned for other in self._members))
        return sorted(member.target - taken)

    def has_news(self, member: Member, *, gave: bool) -> bool:
        """Whether a member, which `gave` something back, is told what it has, be it nothing."""
        if self.by_broker:
            return gave or bool(self.arriving(member))
        return member.generation != self.generation and not self._is_emptying

    def claim(self, member: Member) -> list[TopicPartition]:
        """Give the member what arrives."""
        arriving = self.arriving(member)
        self.follow(member)
        member.owned.update(arriving)
        return arriving

    def follow(self, member: Member) -> None:
        """Let a member know that this is the generation; while all give back there is none."""
        if member.generation != self.generation and not self._is_emptying:
            member.generation = self.generation

    def refusal(self, member: Member | None, generation: int) -> str | None:
        """Why a member of a generation may not commit; None where it may."""
        if member is None and not self._members:
            return None
        if member is None or not (member.fenced or self.has(member)):
            return "UNKNOWN_MEMBER_ID: this consumer is no member of its group"
        if member.fenced:
            return "FENCED_INSTANCE_ID: another member has come with the same instance"
        if member.generation != generation:
            return "ILLEGAL_GENERATION: the group has gone on to a later one"
        return None

    @property
    def _is_emptying(self) -> bool:
        """Whether somebody still has to give back what nobody may have yet."""
        return self.is_eager and any(
            m.owned and m.generation != self.generation for m in self._members
        )

    def _read_of(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        return {p for p in partitions if any(member.reads(p) for member in self._members)}


def refused(commits: Commits, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, str]:
    """Which of these commits are refused, each for itself, where there are these partitions."""
    known = set(partitions)
    found = {
        source: f"{METADATA_TOO_LARGE}: {METADATA_LIMIT} characters and more are not taken"
        for source, commit in commits.items()
        if len(commit.metadata) >= METADATA_LIMIT
    }
    unknown = commits.keys() - known
    return found | {p: f"UNKNOWN_TOPIC_OR_PART: {p} does not exist" for p in unknown}
