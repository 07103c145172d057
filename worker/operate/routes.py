"""Where the messages of a pipeline go, as a spec says it."""

from __future__ import annotations

from collections.abc import Iterable

from worker.app import tiers_of
from worker.flow.life import Route
from worker.settings import Spec
from worker.settings.patterns import reads
from worker.settings.topics import fence_topic, ledger_topic, parking_topic, redrive_topic


def route_of(spec: Spec, name: str) -> Route:
    """Where messages of a pipeline go, as the spec says it."""
    pipeline, group = spec.pipelines[name], spec.group(name)
    target = pipeline.dead_letter
    dead = [] if target is None else target.topics
    return Route(
        name,
        group,
        pipeline.source,
        [tier.topic for tier in tiers_of(spec, name)],
        None if target is None else redrive_topic(group),
        [topic for one in dead for topic in (one, parking_topic(one))],
        {*_free(spec), *filter(None, [pipeline.to])},
        pipeline.isolation,
    )


def _free(spec: Spec) -> Iterable[str]:
    """Topics that the spec declares and gives no part to: handlers may name them."""
    used: set[str | None] = set()
    for name, pipeline in spec.pipelines.items():
        group, target = spec.group(name), pipeline.dead_letter
        used |= {pipeline.to, redrive_topic(group), fence_topic(group)}
        used |= {tier.topic for tier in tiers_of(spec, name)}
        for topic in [] if target is None else target.topics:
            used |= {topic, parking_topic(topic), ledger_topic(topic)}
    sources = [source for one in spec.pipelines.values() for source in one.source]
    return (topic for topic in spec.topics if topic not in used and not reads(sources, topic))
