"""What becomes of a message that could not be handled."""

from __future__ import annotations

from typing import Literal

from worker.settings import Pipeline
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


def too_late(timeout: float) -> Failure:
    """Why an attempt that took longer than `timeout` seconds has failed."""
    return Failure("timeout", "", f"longer than timeout: {timeout:g}s", harmless=True)


def policy(pipeline: Pipeline) -> OnError:
    """What a pipeline wants to become of messages that cannot be handled."""
    return "dead_letter" if pipeline.dead_letter is not None else pipeline.on_error or "stop"
