"""What a mode hands over: everything raw, its table, and its charts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.figures import Spread


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; without a spread there is a note in its place."""

    label: str
    spread: Spread | None
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Horizontal bars below a title."""

    title: str
    digits: int
    bars: list[Bar]


@dataclass(frozen=True)
class Section:
    """The results of one mode."""

    title: str
    settings: dict[str, Any]
    attempts: list[dict[str, Any]]
    table: str
    notes: list[str] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
