"""What failed lately, grouped by the class of the error and by what became of the messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from worker.types import Failure, Message

MOST: Final = 20
"""Groups that are kept; the one that was quiet for longest makes room for a new one."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind, and where the last of them happened."""

    became: str
    """What became of the messages."""
    reason: str
    error: str
    """The exception's class, empty where there was none."""
    text: str
    """The text of the last one, as far as it is known to hold no payload."""
    count: int
    topic: str
    partition: int
    offset: int
    last: float
    """Seconds since 1970."""


Key = tuple[str, str, str]


class FailureGroups:
    """The groups of one pipeline; one thread writes them."""

    def __init__(self) -> None:
        self._groups: dict[Key, FailureGroup] = {}
        """By key, the one that was quiet for longest first."""

    def note(self, became: str, message: Message, failure: Failure, time: float) -> None:
        """Count one failure, and remember it as the example of its group."""
        key = became, failure.reason, failure.error
        before = self._groups.pop(key, None)
        count = 0 if before is None else before.count
        text = failure.text if failure.harmless else ""
        place = message.topic, message.partition, message.offset
        self._groups[key] = FailureGroup(*key, text, count + 1, *place, time)
        if len(self._groups) > MOST:
            del self._groups[next(iter(self._groups))]

    def latest_first(self) -> tuple[FailureGroup, ...]:
        """All of them."""
        return tuple(reversed(self._groups.values()))


def merged(groups: Iterable[FailureGroup]) -> tuple[FailureGroup, ...]:
    """Groups of several processes as one: counts are added, the last example counts."""
    found: dict[Key, FailureGroup] = {}
    for group in sorted(groups, key=lambda group: group.last):
        key = group.became, group.reason, group.error
        before = found.pop(key, None)
        count = 0 if before is None else before.count
        found[key] = replace(group, count=group.count + count)
    return tuple(reversed(found.values()))[:MOST]
