"""All systems by name, and how some are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from bench.systems import System, bare, worker

BASE = "bare"
"""The system to which ratios are taken."""


SYSTEMS = [
    System("bare", "bare loop", bare("tuned")),
    System("bare-defaults", "bare loop, librdkafka's defaults", bare("defaults")),
    System("worker", "worker", worker("seen")),
    System("worker-batch", "worker, batch handler", worker("seen_batch")),
]


def choose(text: str) -> list[System]:
    """Systems by their names with commas between; raises `ValueError` that lists all."""
    return [by_name(name.strip()) for name in text.split(",") if name.strip()]


def by_name(name: str, systems: Sequence[System] = SYSTEMS) -> System:
    for system in systems:
        if system.name == name:
            return system
    known = ", ".join(system.name for system in systems)
    raise ValueError(f"there is no system {name!r}; there are {known}")
