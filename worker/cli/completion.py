"""What the shell completes: names from the spec that a command line or the environment names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

from worker.app import dead_letter_topics, implied_topics, retry_topics
from worker.errors import WorkerError
from worker.settings import Spec
from worker.spec import load
from worker.spec.topics import topics_of

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completing(names: Callable[[Spec], Iterable[str]]) -> Complete:
    """What completes these names of the spec, for `shell_complete`; none without a spec."""

    def complete(
        ctx: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        spec = _spec(ctx)
        found = [] if spec is None else sorted(set(names(spec)))
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return complete


def _spec(ctx: click.Context) -> Spec | None:
    file = ctx.params.get("spec") or os.environ.get("WORKER_SPEC")
    try:
        return load(Path(file or ""), os.environ).spec
    except (WorkerError, OSError):
        return None


def _every_topic(spec: Spec) -> Iterable[str]:
    tiers = (topic for name in spec.pipelines for topic in retry_topics(spec, name, None))
    return [*topics_of(spec), *implied_topics(spec), *tiers]


TOPICS: Final = completing(topics_of)
EVERY_TOPIC: Final = completing(_every_topic)
"""Those that a spec implies, too."""
DEAD_LETTER_TOPICS: Final = completing(dead_letter_topics)
GROUPS: Final = completing(lambda spec: map(spec.group, spec.pipelines))
PIPELINES: Final = completing(lambda spec: spec.pipelines)
HANDLERS: Final = completing(lambda spec: [one.handler for one in spec.pipelines.values()])
