"""What a worker tells of itself at `/stats`, as plain values; nothing where it does not answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Owned = tuple[str, str, int]
"""Pipeline, topic and partition."""


def owned(stats: object) -> set[Owned]:
    """The partitions that it has."""
    return {
        (name, one["topic"], one["partition"])
        for name, pipeline in _pipelines(stats)
        for one in pipeline["partitions"]
    }


def is_joined(stats: object) -> bool:
    """Whether it is a member of all its groups, with partitions or without."""
    found = [pipeline["joined"] for _, pipeline in _pipelines(stats)]
    return bool(found) and all(found)


def in_flight(stats: object) -> int:
    """How many messages it has at work."""
    return sum(pipeline["in_flight"] for _, pipeline in _pipelines(stats))


def rebalances(stats: object) -> int:
    """How many rebalances it has seen."""
    return sum(pipeline["counts"]["rebalances"] for _, pipeline in _pipelines(stats))


def _pipelines(stats: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(stats, dict):
        yield from stats.get("pipelines", {}).items()
