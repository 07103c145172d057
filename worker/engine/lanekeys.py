"""The lanes of messages by what users say that they have in common."""

from __future__ import annotations

import logging
import time

from worker.flow import later
from worker.flow.lanes import LaneKey
from worker.handlers import Lane
from worker.types import Message, RawMessage, headers_of

log = logging.getLogger(__name__)

REPORT_EVERY = 10.0
"""Seconds between two log lines about a function that fails."""


class ByHeader:
    """Lanes by the last header of a name; a message without it shares its lane with no other."""

    def __init__(self, name: str) -> None:
        self._name = name

    def of(self, message: RawMessage) -> LaneKey:
        """See `LaneKeys`."""
        found = None
        for name, value in headers_of(message) or ():
            if name == self._name:
                found = value
        return found

    done = of


class ByRetryLane:
    """Lanes of a retry topic, by what its records say of theirs; see `flow.fence`."""

    of = done = staticmethod(later.lane_of)


class ByFunction:
    """Lanes by a function of users, which is asked once for each message.

    What it says is kept until the message is done, since it need not say the same again. Where it
    fails, the message is in the lane of its key.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._keys: dict[int, LaneKey] = {}
        """By offset."""
        self._report_due = 0.0

    def of(self, message: RawMessage) -> LaneKey:
        """See `LaneKeys`."""
        offset = message.offset()
        if offset not in self._keys:
            self._keys[offset] = self._asked(message)
        return self._keys[offset]

    def done(self, message: RawMessage) -> LaneKey:
        """See `LaneKeys`."""
        return self._keys.pop(message.offset())

    def _asked(self, message: RawMessage) -> LaneKey:
        try:
            key = self._lane.function(Message(message))
        except BaseException as error:  # noqa: BLE001 - code of users may raise anything
            return self._instead(message, type(error).__name__)
        if key is None or isinstance(key, (str, bytes)):
            return key
        kind = type(key).__name__
        return self._instead(message, f"a lane is a str, bytes or None, not {kind}")

    def _instead(self, message: RawMessage, why: str) -> LaneKey:
        if time.monotonic() >= self._report_due:
            self._report_due = time.monotonic() + REPORT_EVERY
            words = "%s: %r goes into the lane of its key: %s"
            log.warning(words, self._lane.where, Message(message), why)
        return message.key()
