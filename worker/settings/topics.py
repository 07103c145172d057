"""Names of the topics that belong to a group, and to a dead-letter topic."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

REDRIVE: Final = ".redrive"
PARKED: Final = ".parked"

_RETRY: Final = re.compile(r".+\.retry\.[0-9]+")


def redrive_topic(group: str) -> str:
    """Where dead letters of a group go to be handled again, so that no other group sees them."""
    return group + REDRIVE


def retry_topic(group: str, tier: int) -> str:
    """Where messages of a group wait for another attempt; the first tier is 0."""
    return f"{group}.retry.{tier}"


@lru_cache(maxsize=1_024)
def is_retry_topic(topic: str) -> bool:
    """Whether a topic is one of these, of whatever group."""
    return _RETRY.fullmatch(topic) is not None


def fence_topic(group: str) -> str:
    """Where it stands which lanes of a group have messages in a retry topic."""
    return f"{group}.fence"


def ledger_topic(dead_letter: str) -> str:
    """Where it stands what has become of the records of a dead-letter topic."""
    return f"{dead_letter}.ledger"


def parking_topic(dead_letter: str) -> str:
    """Where records of a dead-letter topic go that nobody wants to try again."""
    return dead_letter + PARKED


def is_parking(topic: str) -> bool:
    """Whether a topic is one of these."""
    return topic.endswith(PARKED)
