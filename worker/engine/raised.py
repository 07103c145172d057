"""What is told of exceptions that users raise."""

from __future__ import annotations

from worker.flow.deadletter import TEXT_LIMIT, known_as
from worker.settings import DeadLetterSettings
from worker.types import Failure


def failure_of(
    reason: str,
    error: BaseException,
    target: DeadLetterSettings | None,
    *,
    harmless: bool = False,
) -> Failure:
    """Why a message was not handled whose decoder, handler or encoder has raised this."""
    kind = type(error)
    name = "" if target is None else known_as(kind, target.by)
    return Failure(reason, kind.__name__, text_of(error), harmless, name)


def text_of(error: BaseException) -> str:
    """The beginning of what it says, fit for a header: its `__str__` is code of users, too."""
    try:
        text = str(error)[:TEXT_LIMIT]
    except BaseException as failed:  # noqa: BLE001 - code of users may raise anything
        text = f"(its text cannot be had: {type(failed).__name__})"
    return text.encode("utf-8", "backslashreplace").decode()
