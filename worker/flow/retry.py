"""What becomes of a message that could not be handled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from worker.settings import BackoffSettings, Pipeline, RetrySettings
from worker.types import DeadLetter, Decision, Failure, Skip, Stop

OnError = Literal["dead_letter", "skip", "stop"]

RETRIED: Final = frozenset({"handler_error", "timeout"})
"""Reasons that may not hold another time."""
GROWTH: Final = 300
"""Attempts after which waits do not grow any more: ten to this power is still a number."""


class Tier(NamedTuple):
    """A topic in which messages wait before they are tried again."""

    topic: str
    delay: float
    """Seconds."""


def decide(on_error: OnError, failure: Failure) -> Decision:
    """Choose what becomes of a message that is not tried again."""
    match on_error:
        case "dead_letter":
            return DeadLetter(failure)
        case "skip":
            return Skip(failure)
        case "stop":
            return Stop(failure)


def is_retried(retry: RetrySettings, reason: str, kind: type[BaseException]) -> bool:
    """Whether a message may be tried again that has failed for this reason, with this exception."""
    has_one_attempt = retry.attempts == 1 and not retry.topics
    if has_one_attempt or reason not in RETRIED:
        return False
    names = names_of(kind)
    return names.isdisjoint(retry.give_up_on) and not (retry.on and names.isdisjoint(retry.on))


def names_of(kind: type[BaseException]) -> set[str]:
    """What a class of exceptions, or a base of it, may be called: bare or with where it is.

    That is its module or a package around it, from which it is mostly imported.
    """
    return {name for one in kind.__mro__ for name in own_names(one)}


def own_names(kind: type) -> set[str]:
    """What a class itself may be called."""
    parts = str(kind.__module__).split(".")
    places = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return {kind.__name__, *(f"{place}.{kind.__qualname__}" for place in places)}


def delay(backoff: BackoffSettings, failures: int, draw: float) -> float:
    """Seconds to wait after so many failed attempts, at least one; `draw` is from 0 to 1.

    Jitter takes off part of the wait, so that lanes that have failed together do not come back
    together. Half of the wait is kept by default: with all of it drawn, as is best for a crowd of
    clients, attempts could be over before what they wait for is back.
    """
    growth = backoff.multiplier ** min(failures - 1, GROWTH)
    return min(backoff.max, backoff.initial * growth) * (1 - backoff.jitter * draw)


def attempts_in_place(retry: RetrySettings, passed: int, before: int) -> int:
    """How often a message is tried where it is, that has failed so often before it came there.

    In a retry topic once, unless it has only followed another one to there.
    """
    return 1 if passed and before else retry.attempts


def tier_after(
    retry: RetrySettings, tiers: Sequence[Tier], passed: int, asked: float | None, *, is_over: bool
) -> int | None:
    """The tier that a message goes to which has failed; None where it stays, or is given up.

    That is the next one after the `passed` ones when attempts in place are over. One that has
    `asked` for a longer wait than those in place goes at once to the first tier with a wait that
    long, if there is such a one; in seconds.
    """
    left = range(passed, len(tiers))
    if asked is not None and asked > retry.backoff.max:
        enough = [tier for tier in left if tiers[tier].delay >= asked]
        if enough:
            return enough[0]
    return left[0] if left and is_over else None


def too_late(timeout: float) -> Failure:
    """Why an attempt that took longer than `timeout` seconds has failed."""
    return Failure("timeout", "", f"longer than timeout: {timeout:g}s", harmless=True, took=timeout)


def policy(pipeline: Pipeline) -> OnError:
    """What a pipeline wants to become of messages that cannot be handled."""
    return "dead_letter" if pipeline.dead_letter is not None else pipeline.on_error or "stop"
