"""How topics are wanted, how they are, and the steps from there to here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from worker.flow.acls import Right
from worker.settings import TopicSettings
from worker.types import TopicInfo

NAMED: Final = 3
"""Topics that a note about many names."""
_MORE_IS_FINE: Final = {"retention.ms", "retention.bytes", "max.message.bytes"}
"""Settings of topics of our own of which a larger value, or -1 for no bound, does as well."""
_INTEGER: Final = re.compile(r"-?\d{1,18}")
_NOTHING: Final = TopicSettings()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic that a spec names or implies."""

    topic: str
    origin: str
    """File and line."""
    settings: TopicSettings
    """How it is made; a number of partitions that is None is that of `like`, or the broker's."""
    declared: TopicSettings = _NOTHING
    """What the spec says of it itself, which counts to the letter."""
    like: str = ""
    """In words, what it gets its number of partitions from, if not from the broker."""


@dataclass(frozen=True, slots=True)
class Create:
    """A topic is made."""

    topic: str
    origin: str
    settings: TopicSettings
    like: str = ""


@dataclass(frozen=True, slots=True)
class Grow:
    """A topic gets more partitions."""

    topic: str
    origin: str
    partitions: int
    to: int


@dataclass(frozen=True, slots=True)
class Configure:
    """Settings of a topic change, each from what it is (None where it is not known) to another."""

    topic: str
    origin: str
    values: Mapping[str, tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class Delete:
    """A topic is deleted, with the records that are handled."""

    topic: str
    origin: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A principal is given a right."""

    right: Right
    origin: str
    principal: str


Step = Create | Grow | Configure | Delete | Grant
"""What changes the cluster; matched once, in `operate/planning.py`."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be known of a place in the spec."""

    origin: str
    text: str


def subject_of(step: Step) -> str | Right:
    """What a step changes."""
    return step.right if isinstance(step, Grant) else step.topic


def steps_to(wanted: Wanted, there: TopicInfo | None) -> Iterator[Step]:
    """What makes a topic what it is to be; nothing where it is, or cannot be made so."""
    if there is None:
        yield Create(wanted.topic, wanted.origin, wanted.settings, wanted.like)
        return
    number = wanted.settings.partitions
    if number is not None and there.partitions < number:
        yield Grow(wanted.topic, wanted.origin, there.partitions, number)
    values = {
        name: (there.config.get(name), as_kafka_writes(value))
        for name, value in wanted.settings.config.items()
        if not _is_set(name, there.config.get(name), as_kafka_writes(value), wanted.declared)
    }
    if values and there.config:
        yield Configure(wanted.topic, wanted.origin, values)


def immovable(wanted: Wanted, there: TopicInfo | None) -> Iterator[Note]:
    """What differs from the spec, and that no command changes."""
    if there is None:
        return
    number, replicas = wanted.declared.partitions, wanted.declared.replication
    if number is not None and there.partitions > number:
        text = (
            f"topic {wanted.topic!r} has {there.partitions} partitions, and {number} are declared: "
            f"partitions are never taken away; declare {there.partitions}"
        )
        yield Note(wanted.origin, text)
    if replicas is not None and there.replication not in {None, replicas}:
        text = (
            f"topic {wanted.topic!r} has {there.replication} replicas, and {replicas} are "
            f"declared: declare {there.replication}, or move it with kafka-reassign-partitions.sh"
        )
        yield Note(wanted.origin, text)
    if wanted.settings.config and not there.config:
        text = f"the settings of topic {wanted.topic!r} cannot be read: grant DescribeConfigs on it"
        yield Note(wanted.origin, text)


def unseen(wanted: Wanted) -> Note:
    """What is said of a topic of which this user may not know whether it is there."""
    text = (
        f"topic {wanted.topic!r} may not be seen by this user, be it there or not: grant Describe"
    )
    return Note(wanted.origin, f"{text} on it")


def spread(steps: Iterable[Step]) -> Iterator[Note]:
    """What becomes of keys where partitions are added, in one note for all topics."""
    grown = [step for step in steps if isinstance(step, Grow)]
    if grown:
        topics = ", ".join(repr(step.topic) for step in grown[:NAMED])
        more = f" and {len(grown) - NAMED} more" if len(grown) > NAMED else ""
        text = (
            f"partitions are added to {topics}{more}: keys go to others than before, so the order "
            "of a key is not kept across the change; let readers finish what is there first where "
            "that counts"
        )
        yield Note(grown[0].origin, text)


def as_foreseen(wanted: Wanted, there: TopicInfo | None) -> TopicInfo | None:
    """A topic as it is once it was made or has grown; None where only the broker knows."""
    number = wanted.settings.partitions
    if there is not None:
        return replace(there, partitions=max(there.partitions, number or 0))
    return None if number is None else as_made(wanted.settings)


def as_made(settings: TopicSettings) -> TopicInfo:
    """A topic that is made so, as far as that says what it is."""
    written = {name: as_kafka_writes(value) for name, value in settings.config.items()}
    config = {
        name: value
        for name, value in written.items()
        if name not in _MORE_IS_FINE or _INTEGER.fullmatch(value)  # a broker will refuse others
    }
    limit = int(config.get("max.message.bytes", 0))
    return TopicInfo(settings.partitions or 0, limit, None, config)


def forsaken(
    group: str,
    sources: Collection[str],
    committed: Mapping[str, Collection[str]],
    groups: Collection[str],
) -> list[str]:
    """Groups that have read these sources and belong to nobody, where `group` has not begun.

    `committed` are the topics in which each group has offsets, `groups` those that pipelines have.
    """
    if committed.get(group):
        return []
    return sorted(
        other
        for other, topics in committed.items()
        if other not in groups and not set(sources).isdisjoint(topics)
    )


def as_kafka_writes(value: object) -> str:
    """A setting of a topic as Kafka writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_set(name: str, there: str | None, wanted: str, declared: TopicSettings) -> bool:
    if there is None:
        return False
    if _is_same(there, wanted):
        return True
    if name in declared.config or name not in _MORE_IS_FINE:
        return False
    return there == "-1" or (wanted != "-1" and int(there) >= int(wanted))


def _is_same(one: str, other: str) -> bool:
    """Whether two values mean the same: numbers, or lists in whatever order."""
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return sorted(_items(one)) == sorted(_items(other))


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]
