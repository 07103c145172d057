"""Sums over measurements: spreads, percentiles, ratios of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """The lowest, the middle and the highest of some measurements."""

    low: float
    middle: float
    high: float

    def text(self, digits: int = 0) -> str:
        """As "2.00 (1.00 - 3.00)", or "2.00" when there was but one."""
        if digits and self.middle < 0.1:
            digits += 1  # a ratio of 0.004 would be none
        middle = f"{self.middle:,.{digits}f}"
        if self.low == self.high:
            return middle
        return f"{middle} ({self.low:,.{digits}f} - {self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), median(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of all lie, between neighbours by proportion."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def ratios(own: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    """Ratios pair by pair: what was measured in the same repeat, under the same conditions."""
    return [own[repeat] / base[repeat] for repeat in sorted(own) if repeat in base]
