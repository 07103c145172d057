"""What a consumer cannot read: topics that are not there, or that its user may not know or read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException

from worker.kafka.failures import describe
from worker.ports import Offsets
from worker.settings.patterns import is_pattern, unmatched
from worker.types import TopicPartition

LOOK_EVERY: Final = 2.0
"""Seconds between two looks for a topic that is missing."""
LOOK_TIMEOUT: Final = 1.0

_PLACE: Final = re.compile(r"^(\S+) \[\d+\]")
"""How an error begins that is about a partition: one that is no longer told of."""


class Access:
    """Kept from the client's errors, each of which it tells once; topics are looked for again."""

    def __init__(self, group: str | None) -> None:
        self.missing: Final[set[str]] = set()
        """Topics that are not there."""
        self.hidden: Final[set[str]] = set()
        """Topics that this user may not know of any more."""
        self.awaited: Sequence[str] = ()
        """Patterns of which it is not known yet that a topic matches."""
        self.unmatched: Sequence[str] = ()
        """Of these, those that none matched at the last look."""
        self.look_due = 0.0
        self._named: frozenset[str] = frozenset()
        """Topics that are to be read whatever there is; those that match a pattern may go."""
        self._group = group
        self._denied: set[TopicPartition] = set()
        """Partitions that may not be read."""
        self._is_group_denied = False

    def subscribed(self, topics: Sequence[str]) -> None:
        """These topics and patterns are to be read."""
        self.awaited = unmatched(topics, ())
        self._named = frozenset(topic for topic in topics if not is_pattern(topic))

    def joined(self) -> None:
        """The group has this member."""
        self._is_group_denied = False

    def left(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are read no more."""
        self._denied.difference_update(partitions)

    def denied(self, ends: Callable[[Sequence[TopicPartition]], Offsets]) -> str | None:
        """Why it may not read; of a partition that may be read again only an end is heard."""
        if self._is_group_denied:
            return self._why_not_joined
        self._denied -= ends(list(self._denied)).keys()
        topics = sorted(self.hidden | {partition.topic for partition in self._denied})
        return f"may not be read: {', '.join(topics)}; grant Read there" if topics else None

    def described(self, error: KafkaError) -> str:
        """An error as it is told; one of the group is taken note of."""
        if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            return describe(error)
        self._is_group_denied = True
        return f"{describe(error)}; {self._why_not_joined}"

    def note(self, error: KafkaError) -> None:
        """Take note of an error that comes by itself."""
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self.hidden.update(_PLACE.findall(error.str()))
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self.missing.update(self._named.intersection(_PLACE.findall(error.str())))

    def note_of(
        self,
        place: TopicPartition,
        error: KafkaError,
        assigned: Callable[[], Collection[TopicPartition]],
    ) -> None:
        """Take note of an error that comes in the place of a message."""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self.missing.add(place.topic)
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            if place in assigned():
                self._denied.add(place)
            else:
                self.hidden.add(place.topic)

    def look(self, client: Client) -> Collection[str]:
        """See which topics are there by now: the client says once that one is missing, no more.

        What it gives are those that were missing and are there again.
        """
        self.look_due = time.monotonic() + LOOK_EVERY
        missing = frozenset(self.missing)
        with suppress(KafkaException):
            if self.awaited:
                topics = list(client.list_topics(timeout=LOOK_TIMEOUT).topics)
                self.unmatched = self.awaited = unmatched(self.awaited, topics)
            for topic in self.missing | self.hidden:
                found = client.list_topics(topic, timeout=LOOK_TIMEOUT).topics[topic]
                if found.error is None:
                    self.missing.discard(topic)
                    self.hidden.discard(topic)
        return missing - self.missing

    @property
    def _why_not_joined(self) -> str:
        return f"group {self._group!r} may not be joined by this user: grant Read on it"
