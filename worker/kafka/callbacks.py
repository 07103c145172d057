"""Callbacks out of which nothing leaves.

An exception that leaves a callback of the client destroys the messages of the poll it ran in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec
from weakref import WeakMethod

Arguments = ParamSpec("Arguments")


def weakly(method: Callable[Arguments, object]) -> Callable[Arguments, None]:
    """A method of an object that is let go of together with its client.

    The client has its callbacks: with the method itself, both would be garbage in a circle, and the
    client's threads would go on until it is collected.
    """
    found = WeakMethod(method)

    def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        alive = found()
        if alive is not None:
            alive(*args, **kwargs)

    return called


class Kept:
    """The first exception of any callback, kept until the thread that polls can raise it."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def guard(self, callback: Callable[Arguments, Any]) -> Callable[Arguments, None]:
        """The callback with its exceptions kept instead of raised."""

        @functools.wraps(callback)
        def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - nothing may leave a callback
                self.keep(error)

        return guarded

    def keep(self, error: BaseException) -> None:
        """Keep an exception unless there is one already."""
        self._error = self._error or error

    def release(self) -> None:
        """Raise what was kept, once."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
