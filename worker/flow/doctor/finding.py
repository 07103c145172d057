"""What a verdict is, and the form of the rules that give one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from worker.flow.doctor.facts import Facts

Severity = Literal["problem", "warning"]
"""Something stands in the way now, or will."""


class Finding(NamedTuple):
    """Something that is wrong, by what it shows, and what to do about it."""

    severity: Severity
    code: str
    what: str
    evidence: str
    advice: str


Rule = Callable[[Facts], Iterable[Finding]]
