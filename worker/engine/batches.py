"""Batches: the messages of one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worker.engine.results import LEGAL, BadResult
from worker.types import Failed, Outcome, RawMessage


@dataclass(slots=True)
class Batch:
    """The messages of a batch that can be decoded; what became of the others, by their places."""

    raws: list[RawMessage] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)
    undecodable: dict[int, Failed] = field(default_factory=dict)

    def outcomes_with(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The outcomes of all messages in order, with these of the decoded ones."""
        for index, outcome in self.undecodable.items():
            outcomes.insert(index, outcome)
        return outcomes


def wrong_result(result: Any, expected: int) -> BadResult:
    """Why this is nothing that a batch handler may return."""
    got = f"a list of {len(result)}" if isinstance(result, list) else type(result).__name__
    return BadResult(
        "unencodable",
        f"a batch handler returned {got} for {expected} messages; it returns None or a list with "
        f"one result for each message, of which {LEGAL}",
    )
