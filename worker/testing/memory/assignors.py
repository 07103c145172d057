"""How the partitions of a group are shared among its members."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from worker.types import TopicPartition


class Sharer(Protocol):
    """A member as an assignor sees it."""

    @property
    def held(self) -> Sequence[TopicPartition]:
        """What it has, or is to have, sorted."""

    def reads(self, partition: TopicPartition) -> bool:
        """Whether it has subscribed to the topic of this partition."""


Shares = Mapping[Sharer, Collection[TopicPartition]]


def sticky(members: Sequence[Sharer], partitions: Sequence[TopicPartition]) -> Shares:
    """Share evenly, and let everybody keep what fits."""
    shares: dict[Sharer, list[TopicPartition]] = {}
    free = [p for p in partitions if any(m.reads(p) for m in members)]
    share, extra = divmod(len(free), len(members) or 1)
    for member in sorted(members, key=lambda one: -len(one.held)):
        kept = [p for p in member.held if p in free and member.reads(p)]
        shares[member] = kept[: share + (extra > 0)]
        extra -= len(shares[member]) > share
        free = [p for p in free if p not in shares[member]]
    for partition in free:
        wanting = [m for m in members if m.reads(partition)]
        shares[min(wanting, key=lambda one: len(shares[one]))].append(partition)
    return shares


def ranges(members: Sequence[Sharer], partitions: Sequence[TopicPartition]) -> Shares:
    """Give everybody neighbours of each topic, and the first members one more."""
    shares: dict[Sharer, list[TopicPartition]] = {member: [] for member in members}
    for topic in dict.fromkeys(partition.topic for partition in partitions):
        own = [p for p in partitions if p.topic == topic]
        wanting = [m for m in members if m.reads(own[0])]
        share, extra = divmod(len(own), len(wanting) or 1)
        for place, member in enumerate(wanting):
            start = place * share + min(place, extra)
            shares[member] += own[start : start + share + (place < extra)]
    return shares


def in_turn(members: Sequence[Sharer], partitions: Sequence[TopicPartition]) -> Shares:
    """Deal the partitions out one after the other."""
    shares: dict[Sharer, list[TopicPartition]] = {member: [] for member in members}
    turn = list(members)
    for partition in partitions:
        taker = next((m for m in turn if m.reads(partition)), None)
        if taker is not None:
            shares[taker].append(partition)
            turn.remove(taker)
            turn.append(taker)
    return shares


ASSIGNORS: Final[Mapping[str, Callable[[Sequence[Sharer], Sequence[TopicPartition]], Shares]]] = {
    "sticky": sticky,
    "range": ranges,
    "roundrobin": in_turn,
}
"""By what `group.rebalance` calls them."""
