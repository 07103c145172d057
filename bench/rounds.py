"""Repeats in turn: every system once a round, so that what the machine does meets all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar


@dataclass(frozen=True)
class Subject:
    """What is measured: its short name, and the one that tables show."""

    name: str
    label: str


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True)
class Attempt:
    """One system in one repeat: what was measured, or the reason why nothing was."""

    system: str
    label: str
    repeat: int
    figures: dict[str, float] = field(default_factory=dict)
    reason: str = ""


class Unavailable(Exception):
    """A system cannot be had on this machine."""


class Failed(Exception):
    """A system that was started did not do its work."""


def say(text: str) -> None:
    """Tell the progress; results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def rounds(
    systems: Sequence[S],
    repeats: int,
    measure: Callable[[S, int], dict[str, float]],
) -> list[Attempt]:
    """Measure; a system that cannot be had is tried once, one that fails in every round."""
    attempts: list[Attempt] = []
    missing: dict[str, str] = {}
    for repeat in range(repeats):
        first = repeat % len(systems)
        for system in [*systems[first:], *systems[:first]]:
            reason, figures = missing.get(system.name, ""), {}
            if not reason:
                say(f"{system.label}, {repeat + 1} of {repeats}:")
                try:
                    figures = measure(system, repeat)
                except Unavailable as error:
                    reason = missing[system.name] = str(error)
                except Failed as error:
                    reason = str(error)
                say(reason or ", ".join(f"{name} {value:,.2f}" for name, value in figures.items()))
            attempts.append(Attempt(system.name, system.label, repeat, figures, reason))
    order = [system.name for system in systems]
    return sorted(attempts, key=lambda one: (order.index(one.system), one.repeat))
