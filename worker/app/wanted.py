"""How each topic is made that a spec names or implies: the only place for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.flow.retry import Tier
from worker.kafka.config import DEFAULT_MESSAGE_BYTES
from worker.settings import Spec, TopicSettings
from worker.settings.topics import (
    fence_topic,
    ledger_topic,
    parking_topic,
    redrive_topic,
    retry_topic,
)
from worker.types import TopicInfo

Known = Mapping[str, TopicInfo]

WEEK: Final = 7 * 86_400.0
"""Seconds that a message is kept beyond its wait, for a worker that is away."""
ROOM: Final = 64 * 1024
"""Bytes for the headers that a message has in a retry topic beside its own."""
LARGEST: Final = 2**31 - 1
"""What Kafka takes for `max.message.bytes`."""
FENCE: Final = TopicSettings(
    partitions=1,
    config={
        "cleanup.policy": "compact",
        "segment.ms": 3_600_000,
        "min.cleanable.dirty.ratio": "0.01",
    },
)
"""It is read from its beginning with each assignment, so what is lifted has to go soon.

In one partition, so that more partitions of the sources change nothing.
"""
REDRIVE: Final = TopicSettings(
    partitions=1,
    config={"cleanup.policy": "delete", "retention.ms": 604_800_000, "retention.bytes": -1},
)
"""With one partition, since more would count like those of sources in the group's assignment."""
LEDGER: Final = TopicSettings(partitions=1, config={"cleanup.policy": "compact"})
PARKING: Final = TopicSettings(config={"retention.ms": -1})
"""What is parked is kept until somebody has looked at it."""
_ANY: Final = TopicSettings()


def tiers_of(spec: Spec, name: str) -> list[Tier]:
    """The retry topics of a pipeline, the shortest wait first."""
    group, delays = spec.group(name), spec.pipelines[name].retry.topics
    return [Tier(retry_topic(group, tier), delay) for tier, delay in enumerate(delays)]


def fence_of(spec: Spec, name: str) -> str | None:
    """The topic of a pipeline's fences; None where no order is kept."""
    return fence_topic(spec.group(name)) if spec.pipelines[name].keeps_order else None


def redrive_of(spec: Spec, name: str) -> str | None:
    """Where dead letters of a pipeline come back; None where it has none."""
    has_any = spec.pipelines[name].dead_letter is not None
    return redrive_topic(spec.group(name)) if has_any else None


def dead_letter_topics(spec: Spec) -> list[str]:
    """Every topic that dead letters of a spec go to."""
    targets = (pipeline.dead_letter for pipeline in spec.pipelines.values())
    return sorted({topic for target in targets if target is not None for topic in target.topics})


def made_as(spec: Spec, topic: str) -> TopicSettings:
    """How a topic of a spec is made that is none of `retry_topics`."""
    return implied_topics(spec).get(topic) or spec.topics.get(topic, _ANY)


def implied_topics(spec: Spec) -> dict[str, TopicSettings]:
    """Topics beside dead letters, none of which a spec has to name, and how they are made.

    A parking topic has as many partitions as are declared of its dead-letter topic, if any are.
    """
    implied = redrive_topics(spec)
    for dead in dead_letter_topics(spec):
        implied |= beside_dead_letters(spec, dead, spec.topics.get(dead, _ANY).partitions)
    return implied


def redrive_topics(spec: Spec) -> dict[str, TopicSettings]:
    """The topics of redriven dead letters that groups of a spec may have, and how they are made."""
    topics = (redrive_topic(spec.group(name)) for name in spec.pipelines)
    return {topic: _declared(spec, topic, REDRIVE) for topic in topics}


def beside_dead_letters(spec: Spec, topic: str, partitions: int | None) -> dict[str, TopicSettings]:
    """The ledger and the parking topic of a dead-letter topic with so many partitions."""
    ledger, parking = ledger_topic(topic), parking_topic(topic)
    parked = PARKING.model_copy(update={"partitions": partitions})
    return {
        ledger: _declared(spec, ledger, LEDGER),
        parking: _declared(spec, parking, parked),
    }


def retry_topics(spec: Spec, name: str, sources: Known | None) -> dict[str, TopicSettings]:
    """The tiers of a pipeline with these sources and its fence, and how they are made.

    Where not all sources are known, so is not how many partitions tiers have.
    """
    known = (sources or {}).values()
    partitions = max((one.partitions for one in known), default=1)
    largest = max((one.max_message_bytes for one in known), default=0)
    limit = min((largest or DEFAULT_MESSAGE_BYTES) + ROOM, LARGEST)
    wanted = {
        topic: TopicSettings(
            partitions=None if sources is None else partitions,
            config={
                "cleanup.policy": "delete",
                "retention.ms": round((WEEK + delay) * 1000),
                "retention.bytes": -1,
                "max.message.bytes": limit,
            },
        )
        for topic, delay in tiers_of(spec, name)
    }
    fence = fence_of(spec, name)
    if fence is not None:
        wanted[fence] = FENCE
    return {topic: _declared(spec, topic, one) for topic, one in wanted.items()}


def _declared(spec: Spec, topic: str, wanted: TopicSettings) -> TopicSettings:
    """How a topic is made of which the spec may say something, too."""
    said = spec.topics.get(topic)
    if said is None:
        return wanted
    partitions, config = said.partitions or wanted.partitions, {**wanted.config, **said.config}
    return said.model_copy(update={"partitions": partitions, "config": config})
