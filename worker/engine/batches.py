"""Batches: the messages of one call, and what a batch handler says of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.engine.results import LEGAL, BadResult
from worker.errors import BatchError, Retry
from worker.types import Failed, Message, Outcome, RawMessage


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


def told_of_each(error: BaseException, raws: Sequence[RawMessage]) -> list[Any] | None:
    """What a batch handler says of each message by raising this: an exception, or None if handled.

    None where it does not say which of several messages has failed.
    """
    match error:
        case BatchError(errors=errors):
            return _by_place(errors, raws)
        case Retry():
            return [error] * len(raws)
        case _:
            return [error] if len(raws) == 1 else None


def wrong_result(result: Any, expected: int) -> BadResult:
    """Why this is nothing that a batch handler may return."""
    got = f"a list of {len(result)}" if isinstance(result, list) else type(result).__name__
    return BadResult(
        "unencodable",
        f"a batch handler returned {got} for {expected} messages; it returns None or a list with "
        f"one result for each message, of which {LEGAL}, and exceptions for those that have failed",
    )


def _by_place(
    errors: Mapping[int | Message, BaseException], raws: Sequence[RawMessage]
) -> list[BaseException | None]:
    places = {raw.offset(): place for place, raw in enumerate(raws)}
    told: list[BaseException | None] = [None] * len(raws)
    for one, error in errors.items():
        place = places.get(one.offset, -1) if isinstance(one, Message) else one
        if not 0 <= place < len(raws):
            text = f"BatchError names {one!r}, which is not one of the {len(raws)} messages"
            return [BadResult("handler_error", text)] * len(raws)
        told[place] = error
    return told
