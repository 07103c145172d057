"""The options that say which dead letters are meant."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
from pydantic import TypeAdapter, ValidationError

from worker.flow.redrive import Selection, Span
from worker.settings.values import WRITTEN, Duration

_SPAN: Final = re.compile(r"(\d{1,9}):(\d{1,18})(?:-(\d{1,18}))?")
_DURATION: Final = TypeAdapter[float](Duration)
_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()

TIMES: Final = (
    "a time with its zone such as 2026-01-31T12:00:00Z, or how long ago such as 2h, in the years "
    "1970 to 9999 of UTC"
)
"""What is legal as a time."""


class Moment(click.ParamType[int]):
    """A time with its zone, or how long ago it was; in milliseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse one of the two."""
        seconds = _seconds(value)
        if seconds is None or not 0 <= seconds < _END:
            self.fail(f"{value!r} is not {TIMES}", param, ctx)
        return round(seconds * 1000)


def _seconds(value: Any) -> float | None:
    """Since 1970; None for what is no time."""
    try:
        return time.time() - _DURATION.validate_python(value, context=WRITTEN)
    except ValidationError:
        return _time(value)


def _time(value: Any) -> float | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return None if found.tzinfo is None else found.timestamp()


class Offsets(click.ParamType[Span]):
    """An offset of a partition of the dead-letter topic, or several in a row."""

    name = "offsets"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        """Parse `3:42` or `3:42-99`."""
        if isinstance(value, Span):
            return value
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not PARTITION:OFFSET or PARTITION:FIRST-LAST", param, ctx)
        span = Span(int(found[1]), int(found[2]), int(found[3] or found[2]))
        if span.last < span.first:
            self.fail(f"{value!r} ends before it begins", param, ctx)
        return span


_OPTIONS: Final = (
    click.option("--reason", "reasons", multiple=True, help="Those with this `dlq.reason`."),
    click.option(
        "--error",
        "errors",
        multiple=True,
        metavar="CLASS",
        help="Those with this class of exception, with its package or without.",
    ),
    click.option("--handler", "handlers", multiple=True, help="Those of this handler."),
    click.option("--key", "keys", multiple=True, help="Those with this key, as UTF-8."),
    click.option(
        "--offset",
        "spans",
        multiple=True,
        type=Offsets(),
        metavar="P:FIRST[-LAST]",
        help="Those at these offsets of partition P of the dead-letter topic.",
    ),
    click.option(
        "--since",
        type=Moment(),
        metavar="TIME",
        help="Those that failed then or later (for the last time, if more than once): a time with "
        "its zone, or how long ago, such as 2h.",
    ),
    click.option("--until", type=Moment(), metavar="TIME", help="Those that failed before then."),
)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filters; the command is given them as `selection`."""

    @functools.wraps(function)
    def selecting(
        *,
        reasons: tuple[str, ...],
        errors: tuple[str, ...],
        handlers: tuple[str, ...],
        keys: tuple[str, ...],
        spans: tuple[Span, ...],
        since: int | None,
        until: int | None,
        **others: Any,
    ) -> Any:
        wanted = frozenset(key.encode("utf-8", "surrogateescape") for key in keys)
        selection = Selection(reasons, errors, handlers, wanted, spans, since, until)
        return function(selection=selection, **others)

    for option in reversed(_OPTIONS):
        selecting = option(selecting)
    return selecting
