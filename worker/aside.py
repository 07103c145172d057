"""What may never return, done in a thread of its own, so that whoever waits can give up on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread

_Task = tuple[Future[None], Callable[[], object]]


class Aside:
    """Does one task after the other; one that does not return has the thread for good.

    The thread begins with the first task. It is a daemon, so that no process waits for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread: Thread | None = None

    def start(self, task: Callable[[], object]) -> Future[None]:
        """Have this done next; the future has what it raises."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        done = Future[None]()
        self._tasks.put((done, task))
        return done

    def call(self, task: Callable[[], object], timeout: float) -> None:
        """Have this done and raise what it raises; `TimeoutError` after so many seconds.

        After that nothing else is done.
        """
        done = self.start(task)
        try:
            done.result(timeout)
        finally:
            del done  # it has the error, and that has this frame

    def close(self) -> None:
        """Let the thread end once its task has returned."""
        self._tasks.put(None)

    def _work(self) -> None:
        while self._has_done_one():
            pass

    def _has_done_one(self) -> bool:
        """Do the next task, and keep nothing of it while there is no other; False at the end."""
        given = self._tasks.get()
        if given is None:
            return False
        done, task = given
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            done.set_exception(error)
        else:
            done.set_result(None)
        finally:
            del given, done, task  # as above
        return True
