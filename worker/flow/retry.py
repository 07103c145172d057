"""What becomes of a message that could not be handled."""

from __future__ import annotations

from typing import Literal

from worker.types import DeadLetter, Failure, Skip, Stop

OnError = Literal["dead_letter", "skip", "stop"]


def decide(on_error: OnError, failure: Failure) -> DeadLetter | Skip | Stop:
    """Choose the outcome of a failed message."""
    match on_error:
        case "dead_letter":
            return DeadLetter(failure)
        case "skip":
            return Skip(failure)
        case "stop":
            return Stop(failure)
