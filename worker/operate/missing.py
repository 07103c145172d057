"""What is said of topics that are not there: the only place for it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from worker.errors import TopicNotFound


def not_there(topics: Iterable[str], known: Collection[str], otherwise: str) -> TopicNotFound:
    """The error of topics that are not there, a line each.

    It names the known one that may be meant, or says what else to do.
    """
    return TopicNotFound("\n".join(_line(topic, known, otherwise) for topic in topics), advice="")


def _line(topic: str, known: Collection[str], otherwise: str) -> str:
    near = difflib.get_close_matches(topic, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else otherwise
    text = f"topic {topic} does not exist, or is not shown to this user"
    return f"{text}; {hint}" if hint else text
