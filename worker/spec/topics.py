"""Topics of a spec by their names."""

from __future__ import annotations

from worker.settings import Spec
from worker.settings.patterns import is_pattern


def topics_of(spec: Spec) -> list[str]:
    """Every topic that a spec names."""
    names = set(spec.topics)
    for pipeline in spec.pipelines.values():
        names.update(topic for topic in pipeline.source if not is_pattern(topic))
        if pipeline.to is not None:
            names.add(pipeline.to)
        if pipeline.dead_letter is not None:
            names.update(pipeline.dead_letter.topics)
    return sorted(names)
