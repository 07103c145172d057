"""The topics that a spec names: where, whether they are there, and what else is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from worker.app.retrytopics import (
    every_retry_topic,
    leftovers,
    sources_of,
    too_few_partitions,
    unfit,
)
from worker.app.rights import forbidden, unjoinable
from worker.ports import Admin
from worker.settings import Spec
from worker.settings.patterns import is_pattern
from worker.spec import Document, in_order
from worker.types import Problem

Path = tuple[str | int, ...]


def named_topics(document: Document, names: Sequence[str]) -> dict[str, Path]:
    """Every topic that these pipelines read or write, and where the spec names it.

    But for those of retries, which are made by themselves.
    """
    spec = document.spec
    ours = every_retry_topic(spec)
    topics: dict[str, Path] = {
        topic: ("topics", topic) for topic in spec.topics if topic not in ours
    }
    for name in names:
        topics = {**own_topics(spec, name), **topics}
    return topics


def own_topics(spec: Spec, name: str) -> dict[str, Path]:
    """Of these topics those that a pipeline itself names, and where; no patterns."""
    pipeline, here = spec.pipelines[name], ("pipelines", name)
    topics: dict[str, Path] = {
        topic: (*here, "from") for topic in pipeline.source if not is_pattern(topic)
    }
    if pipeline.to is not None:
        topics.setdefault(pipeline.to, (*here, "to"))
    target = pipeline.dead_letter
    for key, topic in [] if target is None else target.places():
        topics.setdefault(topic, (*here, *key))
    return topics


def absent(document: Document, named: Mapping[str, Path], missing: Iterable[str]) -> list[Problem]:
    """A problem for each of these topics, which do not exist or are hidden from this user."""
    how = f"make it with: worker apply {document.file}, or grant Describe on it"
    return [
        document.problem(
            named[topic],
            f"topic {topic!r} does not exist, or is not shown to this user; {how}",
        )
        for topic in missing
    ]


def examine(document: Document, admin: Admin) -> list[Problem]:
    """Everything that is wrong with topics and groups of a spec, in one round; none is made."""
    names = list(document.spec.pipelines)
    named, there = named_topics(document, names), admin.names()
    known = admin.describe([*named, *sorted(every_retry_topic(document.spec))])
    sources = sources_of(document.spec, admin, names, there)
    return in_order(
        [
            *absent(document, named, [topic for topic in named if topic not in known]),
            *forbidden(document, names, known),
            *unjoinable(document, names, admin.allowed(map(document.spec.group, names))),
            *too_few_partitions(document, sources, known),
            *unfit(document, names, known),
            *leftovers(document, admin, names, there),
        ]
    )
