"""Whether a partition gets on that has messages, and what is done about one that does not.

A client is known to stop fetching a partition without a word. Such a one is repaired, by ever
stronger means; when none helps that is told, and at last only a new process can help.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Repair = Literal["seek", "pause", "assign", "renew"]
Progress = Literal["moves", "stands", "repaired", "stuck", "hopeless"]

REPAIRS: Final[tuple[Repair, ...]] = ("seek", "pause", "assign", "renew")
"""Seek to where it is, pause and resume, assign it anew, and give the client up for another: the
one that costs least first, and only the last disturbs other partitions."""
STANDS_AFTER: Final = 10.0
"""Seconds without a move after which a partition is said to stand: several looks."""
FIRST_AFTER: Final = 30.0
"""Seconds without a move after which a partition is repaired."""
NEXT_AFTER: Final = 15.0
"""Seconds that a repair gets to help."""
HOPELESS_AFTER: Final = 180.0
"""Seconds without a move, and with all repairs in vain, after which only a restart helps."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a partition that is to be read."""

    position: int
    """Where it is read on."""
    fetched: int
    """Up to where the client has fetched."""
    end: int
    """Up to where it can be read, as the cluster says."""
    taken: int
    """Messages that the pipeline has taken so far, of all its partitions."""
    waiting: int
    """Messages that the client has fetched and not given out yet, of all partitions."""
    read_since: float
    """When it was last resumed, on the monotonic clock."""

    @property
    def reached(self) -> int:
        """Where it is read on, or up to where it is fetched, whichever is further."""
        return max(self.position, self.fetched)

    @property
    def through_at(self) -> int:
        """See `Standstill`."""
        return self.taken + self.waiting


@dataclass(frozen=True, slots=True)
class Standstill:
    """A partition that had more to read each time and was always seen at the same place."""

    position: int
    fetched: int
    since: float
    """When it was first seen so; later where messages have waited in the client since."""
    through_at: int
    """How many messages have been taken when those are through that wait in the client."""
    repairs: int = 0
    """How many of `REPAIRS` were tried."""
    repaired: float = 0.0
    """When the last one was."""

    def stands_for(self, now: float) -> float:
        """Seconds since it could have got on: since the last repair, if there was one."""
        return now - max(self.since, self.repaired)


def seen(before: Standstill | None, sight: Sight, now: float) -> Standstill | None:
    """The standstill after another look; None where a partition is at its end.

    Slow is not stuck: where messages wait in the client for longer than from look to look, its own
    may be among them, or the client may be too full to fetch it.
    """
    if sight.end <= sight.reached:
        return None
    if (
        before is None
        or sight.position > before.position
        or sight.reached > before.fetched
        or sight.read_since > before.since
    ):
        return Standstill(sight.position, sight.reached, now, sight.through_at)
    is_slow = sight.waiting > 0 and sight.taken < before.through_at
    return replace(before, since=now if is_slow else before.since, through_at=sight.through_at)


def repair_due(standstill: Standstill, now: float) -> Repair | None:
    """What is to be tried now."""
    tried = standstill.repairs
    patience = NEXT_AFTER if tried else FIRST_AFTER
    if tried == len(REPAIRS) or standstill.stands_for(now) < patience:
        return None
    return REPAIRS[tried]


def repaired(standstill: Standstill, now: float) -> Standstill:
    """The standstill after the repair that was due."""
    return replace(standstill, repairs=standstill.repairs + 1, repaired=now)


def carried_on(given_up: Standstill, sight: Sight, now: float) -> Standstill | None:
    """The standstill with a new client, which has to show what it does from here on.

    Where it begins is what is committed: no move. None where the other one was given up long ago.
    """
    if now - given_up.repaired > HOPELESS_AFTER:
        return None
    return replace(
        given_up,
        position=sight.position,
        fetched=sight.reached,
        through_at=sight.through_at,
        repaired=now,
    )


def progress(standstill: Standstill | None, now: float) -> Progress:
    """The verdict: `stuck` when no repair has helped, `hopeless` when that has lasted."""
    if standstill is None:
        return "moves"
    if not standstill.repairs:
        return "stands" if standstill.stands_for(now) >= STANDS_AFTER else "moves"
    if standstill.repairs < len(REPAIRS) or standstill.stands_for(now) < NEXT_AFTER:
        return "repaired"
    return "hopeless" if now - standstill.since >= HOPELESS_AFTER else "stuck"
