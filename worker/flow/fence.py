"""Fences: lanes whose messages go to a retry topic, since an earlier one of theirs is there.

The owner of a partition raises a fence when it moves a message up, to a tier, and moves what comes
later in that lane there, too. It lifts the fence when all of that is through. The report of this is
what the group has committed in the tier's partition of the same number, whoever owns that: what was
moved lies below the end that the tier had when the last record was known to be there. It may have
moved further up meanwhile; then the tier's own fence of the lane stands in the log of fences,
written before the commit, and this one stays for as long.

A fence that is about to be lifted is closing: the first messages of the lane are through, and each
further one that is moved would keep it for longer. So where there is room these wait in their lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from worker.flow.lanes import LaneKey
from worker.types import Encoded, TopicPartition

DIGEST: Final = 8
"""Bytes of a lane's digest: of a million lanes two share one with a chance of 3 in 100 million, and
would then go to retry topics together."""

Lane = bytes
"""A lane of one partition as fences name it: a digest of what its messages have in common, as text.

It names the lane's first partition, too, so that lanes of two topics are told apart in their tier.
"""


def lane_of(source: TopicPartition, key: LaneKey) -> Lane | None:
    """Name a lane; None for a message that shares its lane with no other."""
    if key is None:
        return None
    text = key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass")
    place = f"{source}{'b' if isinstance(key, bytes) else 's'}".encode()
    return blake2b(place + text, digest_size=DIGEST).hexdigest().encode()


def encode(source: TopicPartition, lane: Lane) -> bytes:
    """The key of a fence in the log of fences."""
    return f"{source.topic}/{source.partition}/".encode() + lane


def decode(key: bytes | None) -> tuple[TopicPartition, Lane] | None:
    """Read such a key; None for anything else."""
    topic, _, rest = (key or b"").partition(b"/")
    number, _, lane = rest.partition(b"/")
    if not (topic.isascii() and number.isdigit() and len(number) < 10 and lane):
        return None
    return TopicPartition(topic.decode(), int(number)), lane


def tier_of(value: bytes | None) -> int | None:
    """The tier that such a record names; None where it lifts the fence, or is not ours."""
    return int(value) if value is not None and value.isdigit() and len(value) < 10 else None


def fence_record(topic: str, source: TopicPartition, lane: Lane, tier: int | None) -> Encoded:
    """What raises a fence in the log of fences, or lifts it without a tier."""
    value = None if tier is None else b"%d" % tier
    return Encoded(topic, value, encode(source, lane), partition=0)


@dataclass(slots=True)
class Fence:
    """What is known of a lane that is fenced."""

    tier: int
    """Where its messages go."""
    moving: int = 0
    """Messages on their way there."""
    first: int | None = None
    """The tier's end when it held the first of them; None while that is not known."""
    last: int | None = None
    """The tier's end when it held all of them; None while that is not known."""
    written: bool = False
    """Whether its record was given out."""
    closing: bool = False
    """Whether the first messages of it are through."""


class Fences(dict[Lane, Fence]):
    """The fences of one partition by their lanes."""

    __slots__ = ("_above", "_committed", "_marked", "_unmarked")

    def __init__(self) -> None:
        super().__init__()
        self._unmarked: dict[Lane, None] = {}
        """Those whose last message is in the tier, but not known where; in their order."""
        self._marked: dict[int, deque[tuple[int, Lane]]] = {}
        """By tier, ends that were found and the lanes for which they were, ascending."""
        self._above: dict[Lane, None] = {}
        """Those that are fenced in their tier, too, so that its commits say nothing of them."""
        self._committed: dict[int, int] = {}
        """By tier."""

    def tier_of(self, lane: Lane) -> int:
        """Where the messages of a fenced lane go."""
        return self[lane].tier

    def is_closing(self, lane: Lane) -> bool:
        """Whether messages of the fenced lane do better to wait for its end."""
        return self[lane].closing

    def inherit(self, lane: Lane, tier: int, end: int) -> None:
        """Take over a fence of an earlier owner, whose messages lie below this end of the tier."""
        self[lane] = Fence(tier, first=end, last=end)
        self._marked.setdefault(tier, deque()).append((end, lane))

    def move(self, lane: Lane, tier: int, *, waits: bool = False) -> bool:
        """Note that a message goes to a tier; whether the fence has to be written before.

        A lane that is fenced already keeps its tier. With a message that `waits` there the fence is
        not about to end.
        """
        fence = self.setdefault(lane, Fence(tier))
        fence.moving += 1
        fence.last = None
        if waits:
            fence.first, fence.closing = None, False
        self._unmarked.pop(lane, None)
        is_new, fence.written = not fence.written, True
        return is_new

    def stored(self, lane: Lane) -> None:
        """Note that a message that was moved is in its tier."""
        fence = self[lane]
        fence.moving -= 1
        if not fence.moving:
            self._unmarked[lane] = None

    @property
    def tiers(self) -> set[int]:
        """Tiers that messages were moved to of which it is not known where they are."""
        return {self[lane].tier for lane in self._unmarked}

    @property
    def awaited(self) -> set[int]:
        """Tiers whose commits are waited for."""
        return {tier for tier, marked in self._marked.items() if marked}

    def mark(self, ends: Mapping[int, int]) -> None:
        """Take in the ends of tiers, asked for after what was `stored`."""
        for lane in [one for one in self._unmarked if self[one].tier in ends]:
            fence = self[lane]
            fence.last = end = ends[fence.tier]
            fence.first = end if fence.first is None else fence.first
            self._marked.setdefault(fence.tier, deque()).append((end, lane))
            del self._unmarked[lane]

    def report(
        self, committed: Mapping[int, int], is_above: Callable[[int, Lane], bool]
    ) -> list[Lane]:
        """Take in what is committed in tiers; returns the lanes that are not fenced any more.

        `is_above` says whether a tier has a fence of a lane, as of a later moment.
        """
        self._committed |= committed
        through: dict[Lane, None] = {}
        for tier, offset in committed.items():
            marked = self._marked.get(tier, deque())
            while marked and marked[0][0] <= offset:
                through[marked.popleft()[1]] = None
        above = dict.fromkeys(lane for lane in through if is_above(self[lane].tier, lane))
        for lane in above:
            self[lane].closing = False
        self._above |= above
        return [lane for lane in through if lane not in above and self._lift(lane)]

    def look_above(self, is_above: Callable[[int, Lane], bool]) -> list[Lane]:
        """Look again whether lanes are fenced in their tier; returns those that no fence holds."""
        lowered = [one for one in self._above if not is_above(self[one].tier, one)]
        for lane in lowered:
            del self._above[lane]
        return [lane for lane in lowered if self._lift(lane)]

    def _lift(self, lane: Lane) -> bool:
        """Lift a fence, or close it if messages are still to come through."""
        fence, committed = self[lane], self._committed[self[lane].tier]
        fence.closing = fence.first is not None and fence.first <= committed
        if fence.last is None or fence.last > committed:
            return False
        del self[lane]
        return True
