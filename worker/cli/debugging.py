"""Code of users under Python's debugger, where it raises or where it begins."""

from __future__ import annotations

import functools
import pdb  # noqa: T100 - what it is for
import sys
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any


class Debugging:
    """Wraps functions of users; `raised` is what the last of them to fail has raised."""

    def __init__(self, *, at_error: bool, at_start: bool) -> None:
        self.raised: BaseException | None = None
        self._at_error = at_error
        self._at_start = at_start

    @property
    def was_left(self) -> bool:
        """Whether the user has ended it, or left the debugger, before the function was over."""
        return isinstance(self.raised, (BdbQuit, KeyboardInterrupt))

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; the debugger opens at what it raises."""
        return _within(self._watching, function)

    def stage(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; the debugger opens at its first line."""
        return _within(_stepping, function) if self._at_start else function

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.raised = error
            if self._at_error and not self.was_left:
                _open_at(error.__traceback__)
            raise


def _open_at(trace: TracebackType | None) -> None:
    pdb.post_mortem(trace)


@contextmanager
def _stepping() -> Iterator[None]:
    """Stop at the first line of what is called in the block, in the same thread."""
    debugger = pdb.Pdb()
    debugger.reset()
    sys.settrace(debugger.trace_dispatch)
    try:
        yield
    finally:
        sys.settrace(None)


def _within(block: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, each call of it in such a block."""
    if iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            with block():
                return await function(*arguments, **named)

        return awaited

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        with block():
            return function(*arguments, **named)

    return called
