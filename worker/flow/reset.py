"""Where a group goes on after a reset of its offsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from worker.types import Commit, TopicPartition


@dataclass(frozen=True, slots=True)
class At:
    """This offset."""

    offset: int


@dataclass(frozen=True, slots=True)
class Shift:
    """So many offsets further on, or back where it is negative, but not out of the log."""

    by: int


Target = Literal["oldest", "newest"] | datetime | At | Shift


class Log(NamedTuple):
    """A partition as it reaches, and where its first message at the wanted time is."""

    low: int
    end: int
    found: int


@dataclass(frozen=True, slots=True)
class Move:
    """What is committed of a partition, and what is to be."""

    source: TopicPartition
    now: Commit | None
    to: int


@dataclass(frozen=True, slots=True)
class Moves:
    """A reset: what it changes, what it leaves, and why it cannot be."""

    changes: list[Move]
    unchanged: list[TopicPartition]
    """Where that is committed already, or where there is nothing to shift."""
    problems: list[str]
    cut: dict[TopicPartition, int] = field(default_factory=dict)
    """How many offsets of a shift lie out of the log, by partition, be it changed or not."""


def moves(
    target: Target, logs: Mapping[TopicPartition, Log], committed: Mapping[TopicPartition, Commit]
) -> Moves:
    """What a reset of these partitions does.

    What is noted beside an offset goes, be the offset the same: it would hide messages.
    """
    result = Moves([], [], [])
    for source, log in sorted(logs.items()):
        now = committed.get(source)
        to = _offset(target, log, now)
        if isinstance(target, At) and not log.low <= target.offset <= log.end:
            legal = f"legal are {log.low} to {log.end}"
            result.problems.append(f"offset {target.offset} of {source} is not in the log; {legal}")
        elif to is None or now == Commit(to):
            result.unchanged.append(source)
        else:
            result.changes.append(Move(source, now, to))
        cut = _cut(target, now, to)
        if cut:
            result.cut[source] = cut
    return result


def _cut(target: Target, now: Commit | None, to: int | None) -> int:
    if not isinstance(target, Shift) or now is None or to is None:
        return 0
    return abs(now.offset + target.by - to)


def _offset(target: Target, log: Log, now: Commit | None) -> int | None:
    match target:
        case "oldest":
            return log.low
        case "newest":
            return log.end
        case At(offset):
            return offset
        case Shift(by):
            return None if now is None else min(max(log.low, now.offset + by), log.end)
        case _:
            return log.found
