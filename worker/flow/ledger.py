"""The ledger of a dead-letter topic: what has become of its records.

Each entry is a record of a compacted topic, written in one transaction with what it tells of. Its
key is the dead letter's partition and offset, `3:42`; its value is JSON with `fate`, `to` (a topic
or null), `at` (milliseconds since 1970) and `topic_id`. A dead letter without an entry waits.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, NamedTuple

import orjson

from worker.types import Encoded

Fate = Literal["redriven", "parked", "dropped"]
"""What becomes of a dead letter."""

Place = tuple[int, int]
"""A partition of the dead-letter topic, and an offset in it."""

_KEY: Final = re.compile(rb"(\d{1,9}):(\d{1,19})")


class Entry(NamedTuple):
    """What has become of a dead letter."""

    fate: str
    to: str | None
    at: int


class Ledger:
    """What has become of the dead letters of one topic, by their places.

    `topic_id` is Kafka's id of the dead-letter topic: one that was deleted and made again has the
    old one's name and offsets, but not its dead letters, so entries with another id do not count.
    """

    def __init__(self, topic_id: str) -> None:
        self._topic_id = topic_id
        self.entries: dict[Place, Entry] = {}

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take note of a record of the ledger's topic, in the order of that topic.

        A value that cannot be read counts as one all the same, so that nothing is moved twice.
        """
        found = _KEY.fullmatch(key or b"")
        if found is None:
            return
        place = int(found[1]), int(found[2])
        written = _read(value)
        if value is None or written.get("topic_id", self._topic_id) != self._topic_id:
            self.entries.pop(place, None)
        else:
            self.entries[place] = _entry(written)

    def entry(self, topic: str, place: Place, fate: Fate, to: str | None, at: int) -> Encoded:
        """The record, for the ledger's topic, that says what becomes of a dead letter."""
        value = {"fate": fate, "to": to, "at": at, "topic_id": self._topic_id}
        return Encoded(topic, orjson.dumps(value), b"%d:%d" % place)


def _entry(written: dict[str, Any]) -> Entry:
    """What an entry says; others may write to the topic, too."""
    to, at = written.get("to"), written.get("at")
    fate = str(written.get("fate", "unknown"))
    return Entry(fate, to if isinstance(to, str) else None, at if type(at) is int else 0)


def _read(value: bytes | None) -> dict[str, Any]:
    try:
        written = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return written if isinstance(written, dict) else {}
