"""Callbacks out of which nothing leaves.

An exception that leaves a callback of the client destroys the messages of the poll it ran in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

Arguments = ParamSpec("Arguments")


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
