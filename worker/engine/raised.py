"""What is told of exceptions that users raise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import dropwhile
from pathlib import Path
from traceback import FrameSummary, StackSummary, extract_tb
from typing import Final

from worker.flow.deadletter import STACK_LIMIT, known_as
from worker.flow.headers import TEXT_LIMIT
from worker.flow.redaction import NOTHING_KNOWN, Redaction
from worker.settings import DeadLetterSettings
from worker.types import Failure

LOOKED_AT: Final = 4 * TEXT_LIMIT
"""Characters of a text in which secrets are looked for: one may begin before the cut."""
FRAMES: Final = 50
"""Frames of an exception that are looked at, the last ones."""
CAUSES: Final = 5
"""Exceptions that are looked at which led to another, the nearest ones."""

_OURS: Final = str(Path(__file__).parents[1]) + os.sep


def failure_of(
    reason: str,
    error: BaseException,
    target: DeadLetterSettings | None,
    *,
    harmless: bool = False,
    redacted: Redaction = NOTHING_KNOWN,
) -> Failure:
    """Why a message was not handled whose decoder, handler or encoder has raised this."""
    kind = type(error)
    failure = Failure(reason, kind.__name__, text_of(error, redacted), harmless)
    if target is None:
        return failure
    stack = stack_of(error, redacted) if target.stack else ""
    return replace(failure, stack=stack, known_as=known_as(kind, target.by))


def text_of(error: BaseException, redacted: Redaction = NOTHING_KNOWN) -> str:
    """The beginning of what it says without secrets, fit for a header.

    Its `__str__` is code of users, too.
    """
    try:
        return _fit(redacted(redacted.beginning(str(error), LOOKED_AT))[:TEXT_LIMIT])
    except BaseException as failed:  # noqa: BLE001 - code of users may raise anything
        return f"(its text cannot be had: {type(failed).__name__})"


def stack_of(error: BaseException, redacted: Redaction = NOTHING_KNOWN) -> str:
    """The end of its frames and of those that led to it, without the worker's own.

    The class follows its frames. There are no values and no texts, which may hold payload.
    """
    try:
        return _fit(redacted("".join(_lines(error)))[-STACK_LIMIT:])
    except BaseException as failed:  # noqa: BLE001 - loaders of users' modules give the source
        return f"(its stack cannot be had: {type(failed).__name__})"


def _lines(error: BaseException) -> Iterator[str]:
    for one in reversed(list(_causes(error))):
        frames = dropwhile(_is_ours, extract_tb(one.__traceback__, -FRAMES))
        yield from StackSummary.from_list(list(frames)).format()
        yield f"{type(one).__qualname__}\n"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """It, and what led to it: of a group the first of its exceptions."""
    for _ in range(1 + CAUSES):
        if error is None:
            return
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None or error.__suppress_context__:
            error = error.__cause__
        else:
            error = error.__context__


def _is_ours(frame: FrameSummary) -> bool:
    return frame.filename.startswith(_OURS)


def _fit(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
