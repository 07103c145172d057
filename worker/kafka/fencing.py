"""Whether a member that was told to be fenced has a twin: its group is asked, maybe for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from worker.errors import ClientError, ClientFatal, Fenced

ASK_EVERY: Final = 0.5
"""Seconds between two questions."""
SESSIONS: Final = 1.5
"""Sessions after which a member that nobody is would be gone from its group."""


class Fencing:
    """A static member that is told to be fenced, until it is known whether it is.

    A member can fence itself. After its session has timed out, librdkafka sends heartbeats without
    an id until the partitions are given back, and the group takes them for those of another
    (librdkafka's issue 3437). And a join whose answer is lost leaves a member behind that nobody
    is: it goes when its session ends, and a twin stays.

    `last` is its id in its last assignment, `now` what its client says: with the same it has not
    lost its session, nor joined since. `ask` gives the member that has the instance, `session` is
    in seconds.
    """

    def __init__(
        self,
        told: Fenced,
        last: str | None,
        now: str | None,
        ask: Callable[[], str | None],
        session: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told = told
        self._mine = {None, last, now}
        self._ask = ask
        self._clock = clock
        self._due = clock()
        self._patience = self._due + SESSIONS * session
        """Until when nobody may be gone yet, and the group may not say who is there."""
        self._has_kept_session = now == last

    def look(self) -> None:
        """Ask now and then; raises `Fenced` or `ClientFatal` once it is known."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + ASK_EVERY
        try:
            holder = self._ask()
        except ClientError as error:
            if error.retriable and now < self._patience:
                return
            text = f"{self._told.text}; who it is cannot be had: {error.text}"
            raise ClientFatal(text) from error
        if holder in self._mine:
            raise ClientFatal("the group has lost this member, whose instance no other has")
        if self._has_kept_session or now >= self._patience:
            raise self._told.anew()
