"""Calls of a client that may never return, made in a thread of their own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Final

NAME: Final = "calls-of-client"

_Call = tuple[Future[None], Callable[[], object]]


class Aside:
    """Makes one call after the other; a call that does not return has the thread for good.

    The thread begins with the first call. It is a daemon, so that no process waits for it.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: Thread | None = None

    def call(self, call: Callable[[], object], timeout: float) -> None:
        """Make a call and raise what it raises; `TimeoutError` after so many seconds without end.

        After that no other call is made.
        """
        if self._thread is None:
            self._thread = Thread(target=self._work, name=NAME, daemon=True)
            self._thread.start()
        done = Future[None]()
        self._calls.put((done, call))
        try:
            done.result(timeout)
        finally:
            del done  # it has the error, and that has this frame

    def close(self) -> None:
        """Let the thread end once its call has returned."""
        self._calls.put(None)

    def _work(self) -> None:
        while self._has_made_one():
            pass

    def _has_made_one(self) -> bool:
        """Make the next call, and keep nothing of it while there is no other; False at the end."""
        given = self._calls.get()
        if given is None:
            return False
        done, call = given
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised where it was called
            done.set_exception(error)
        else:
            done.set_result(None)
        finally:
            del given, done  # as above
        return True
