"""Topics in which messages wait for another attempt: made, and what they must be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from worker.app.wanted import Known, fence_of, redrive_of, retry_topics, tiers_of
from worker.errors import ClientError, TopicsRefused
from worker.ports import Admin
from worker.settings import Spec, TopicSettings
from worker.settings.patterns import is_pattern, reads
from worker.spec import Document
from worker.types import Problem


def every_retry_topic(spec: Spec) -> set[str]:
    """The tiers and fences that the pipelines of a spec have."""
    tiers = {tier.topic for name in spec.pipelines for tier in tiers_of(spec, name)}
    return tiers | {fence for name in spec.pipelines if (fence := fence_of(spec, name))}


def sources_of(
    spec: Spec, admin: Admin, names: Sequence[str], there: Collection[str]
) -> dict[str, Known]:
    """By pipeline that has retry topics, those from which its messages come.

    `there` are the topics of the cluster, for patterns.
    """
    return {
        name: admin.describe(source_names(spec, name, there))
        for name in names
        if spec.pipelines[name].retry.topics
    }


def make_retry_topics(
    document: Document, admin: Admin, sources: Mapping[str, Known]
) -> tuple[Known, list[Problem]]:
    """Make what pipelines with these sources lack; returns what is there, and why the rest is not.

    What `topics` of the spec says of one counts more than what is made by default.
    """
    if not sources:
        return {}, []
    wanted = {name: retry_topics(document.spec, name, read) for name, read in sources.items()}
    refused: Mapping[str, str] = {}
    try:
        admin.create({topic: one for topics in wanted.values() for topic, one in topics.items()})
    except TopicsRefused as error:
        refused = error.topics
    known = admin.describe([topic for topics in wanted.values() for topic in topics])
    return known, [
        _problem(document, name, _not_made(topic, settings, refused.get(topic, "")))
        for name, topics in wanted.items()
        for topic, settings in topics.items()
        if topic not in known
    ]


def too_few_partitions(
    document: Document, sources: Mapping[str, Known], known: Known
) -> Iterator[Problem]:
    """Retry topics that lack a partition whose number messages of a source may have."""
    for name, read in sources.items():
        for topic, _ in tiers_of(document.spec, name):
            number = known[topic].partitions if topic in known else None
            larger = {
                source: info.partitions
                for source, info in read.items()
                if number is not None and info.partitions > number
            }
            if larger:
                listed = ", ".join(f"{source!r} {larger[source]}" for source in sorted(larger))
                yield _problem(
                    document,
                    name,
                    f"topic {topic!r} has {number} partitions and {listed}: messages keep the "
                    f"number of theirs, so give {topic!r} {max(larger.values())}",
                )


def unfit(document: Document, names: Collection[str], known: Known) -> Iterator[Problem]:
    """Topics of these kinds that would lose what they hold, however they came to be so."""
    for name in names:
        for topic, delay in tiers_of(document.spec, name):
            why = _loses(known[topic].config, delay) if topic in known else None
            if why is not None:
                yield _problem(document, name, f"topic {topic!r} {why}")
        fence = fence_of(document.spec, name)
        if fence is None or fence not in known:
            continue
        policy = known[fence].config.get("cleanup.policy", "compact")
        if policy != "compact":
            words = f"topic {fence!r} has cleanup.policy={policy}, so fences would be deleted with"
            yield _problem(document, name, f"{words} time; legal is compact")


def _loses(config: Mapping[str, str], delay: float) -> str | None:
    """Why a tier with this wait would lose messages."""
    policy = config.get("cleanup.policy", "delete")
    if policy != "delete":
        return f"has cleanup.policy={policy}, so of a key only the last would be kept; set delete"
    retention = int(config.get("retention.ms", -1))
    if 0 <= retention < 2_000 * delay:
        return (
            f"has retention.ms={retention}, and messages wait there for {delay:g}s: set at least "
            "twice as much, and as long as workers may be away"
        )
    return None


def leftovers(
    document: Document, admin: Admin, names: Sequence[str], there: Collection[str]
) -> Iterator[Problem]:
    """Tiers that are not configured any more, but hold messages that nobody would handle."""
    for name in names:
        group, gone = document.spec.group(name), tiers_gone(document.spec, name, there)
        try:
            held = admin.uncommitted(group, gone) if gone else {}
        except ClientError as error:
            words = f"nobody says what is left in {', '.join(gone)}, no longer configured: {error}"
            yield _problem(document, name, words)
            continue
        for topic in held:
            if held[topic]:
                yield _problem(document, name, left_behind(group, topic, held[topic]))


def left_behind(group: str, topic: str, number: int) -> str:
    """What is wrong with a tier of a group that is gone, and holds so many messages at most."""
    return (
        f"topic {topic!r} is that of a tier that is no longer configured, and holds messages that "
        f"are not handled yet ({number} at most): configure {_tier_number(group, topic) + 1} tiers "
        "until they are, or delete it to give them up"
    )


def tiers_gone(spec: Spec, name: str, there: Collection[str]) -> list[str]:
    """Tiers of a pipeline that are there, and not configured any more."""
    group, tiers = spec.group(name), len(spec.pipelines[name].retry.topics)
    return sorted(topic for topic in there if _tier_number(group, topic) >= tiers)


def source_names(spec: Spec, name: str, there: Collection[str]) -> list[str]:
    """Every topic from which messages of a pipeline come; `there` are those of the cluster."""
    pipeline = spec.pipelines[name]
    named = [topic for topic in pipeline.source if not is_pattern(topic)]
    matched = [topic for topic in there if reads(pipeline.source, topic)]
    redriven = filter(None, [redrive_of(spec, name)])
    return [*dict.fromkeys([*named, *matched, *redriven])]


def _not_made(topic: str, wanted: TopicSettings, reason: str) -> str:
    config = ", ".join(f"{key}={value}" for key, value in wanted.config.items())
    return (
        f"topic {topic!r} is not there, or not shown to this user, and cannot be made: {reason}; "
        f"grant Create, Describe, Read and Write on it, or make it with "
        f"partitions={wanted.partitions}, {config} and grant the other three"
    )


def _tier_number(group: str, topic: str) -> int:
    """Which tier of a group a topic is; -1 when it is none."""
    found = re.fullmatch(re.escape(group) + r"\.retry\.(0|[1-9][0-9]{0,5})", topic)
    return int(found[1]) if found else -1


def _problem(document: Document, name: str, text: str) -> Problem:
    return document.problem(("pipelines", name, "retry", "topics"), text)
