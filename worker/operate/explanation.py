"""What `worker explain` tells of messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from worker.flow.life import Life, Standing, Step
from worker.types import Message


@dataclass(frozen=True, slots=True)
class Scope:
    """How far topics are read."""

    since: datetime | None = None
    """From when on; None from just before the message, or else from a day ago."""
    seconds: float = 60.0
    """How long that may take."""
    limit: int = 10
    """Messages that are told of at most, the latest."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message with what happened to it."""

    life: Life
    steps: Sequence[Step]
    standing: Standing | None
    """None where nobody says what its group has committed."""
    unread: Sequence[str] = ()
    """Topics that were not read to their ends, and in which it may go on."""


@dataclass(slots=True)
class Explanation:
    """What was found, and where it was looked for."""

    since: datetime
    """From when on topics were read."""
    lives: list[Told] = field(default_factory=list)
    more: int = 0
    """Messages beyond the limit."""
    others: list[Message] = field(default_factory=list)
    """Records that belong to none of these."""
    looked: list[str] = field(default_factory=list)
    """Topics that were read to their ends."""
    unread: dict[str, str] = field(default_factory=dict)
    """Topics that were not, groups that do not say what they have committed, and a place where
    nothing is; and why."""
