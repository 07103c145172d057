"""Messages that go to retry topics, and the fences of their lanes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from worker.engine.job import Job
from worker.engine.partition import Partition
from worker.flow.attempts import Tried
from worker.flow.deadletter import size_of
from worker.flow.fence import Fences, fence_record
from worker.flow.headers import place_of
from worker.flow.later import history_of, retry_record
from worker.flow.retry import attempts_in_place, tier_after
from worker.ports import Clock, Observer
from worker.types import Encoded, Failed, Failure, Message, RawMessage, RetryLater

log = logging.getLogger(__name__)

REPORT_EVERY: Final = 10.0
"""Seconds between two log lines about messages that cannot be moved."""
NEVER: Final = Tried(0, 0)


class Follower(NamedTuple):
    """A message that goes where an earlier one of its lane went."""

    message: RawMessage
    move: RetryLater


class Sorted(NamedTuple):
    """Messages of a run, by what their fences say."""

    free: list[RawMessage]
    followers: list[Follower]
    held: list[RawMessage]
    """Those that wait in their lanes."""


class Moves:
    """Makes the records that move messages up, from a source to the tiers one after the other."""

    def __init__(
        self,
        job: Job,
        limits: Mapping[str, int],
        partitions: Mapping[str, int],
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._tiers = job.tiers
        self._fence = job.fence
        self._retry = job.settings.retry
        self._limits = limits
        self._partitions = partitions
        self._clock = clock
        self._observer = observer
        self._report_due = 0.0

    def is_over(self, partition: Partition, raw: RawMessage, failed: Failed, counted: int) -> bool:
        """Whether a message is not tried again where it is."""
        if not (failed.again or failed.away):
            return True
        before = history_of(Message(raw)).attempts if partition.passed else 0
        return counted >= attempts_in_place(self._retry, partition.passed, before)

    def failed(
        self, partition: Partition, raw: RawMessage, failed: Failed, *, is_over: bool
    ) -> RetryLater | None:
        """What moves a message that has failed; None where it stays, is given up, or cannot go."""
        if not (failed.again or failed.away):
            return None
        passed, asked = partition.passed, failed.delay
        tier = tier_after(self._retry, self._tiers, passed, asked, is_over=is_over)
        if tier is None:
            return None
        return self._moved(partition, raw, tier, self._tiers[tier].delay, failed.failure)

    def past_fences(
        self, partition: Partition, messages: Sequence[RawMessage], *, may_wait: bool
    ) -> Sorted:
        """Tell apart what is fenced; with `may_wait` messages wait for a fence that is closing."""
        fences = partition.fences or Fences()
        way = Sorted([], [], [])
        for message in messages:
            lane = partition.lane_of(message)
            if lane is None or lane not in fences:
                way.free.append(message)
            elif may_wait and fences.is_closing(lane):
                way.held.append(message)
            elif (move := self.follower(partition, message)) is not None:
                way.followers.append(Follower(message, move))
            else:
                way.held.append(message)
        return way

    def follower(self, partition: Partition, raw: RawMessage) -> RetryLater | None:
        """What moves a message behind one of its lane; None where it cannot go.

        It is due at once: behind the other one it is anyway. One that has failed here is the one
        for which the fence was raised, and comes again after a failed delivery: it waits.
        """
        lane = partition.lane_of(raw)
        if partition.fences is None or lane is None:
            return None
        tier = partition.fences.tier_of(lane)
        delay = self._tiers[tier].delay if raw.offset() in partition.attempts else 0.0
        return self._moved(partition, raw, tier, delay, None)

    def fences(self, partition: Partition, moved: Sequence[RetryLater]) -> Sequence[Encoded]:
        """Fence the lanes of these messages; returns what has to be written in front of them."""
        fences, topic = partition.fences, self._fence
        if fences is None or topic is None:
            return ()
        return [
            fence_record(topic, partition.source, one.lane, one.tier)
            for one in moved
            if one.lane is not None and fences.move(one.lane, one.tier, waits=one.waits)
        ]

    def _moved(
        self,
        partition: Partition,
        raw: RawMessage,
        tier: int,
        delay: float,
        failure: Failure | None,
    ) -> RetryLater | None:
        """None where it is too large for the tier, or the partition is not there."""
        topic = self._tiers[tier].topic
        partitions = self._partitions.get(topic, 0)
        if raw.partition() >= partitions:
            self._note_stuck(raw, topic, f"it has {partitions} partitions; add some, restart")
            return None
        lane = None if partition.fences is None else partition.lane_of(raw)
        record = retry_record(
            Message(raw),
            topic,
            int((self._clock.time() + delay) * 1000),
            failure=failure,
            tried=partition.attempts.get(raw.offset(), NEVER),
            lane=lane,
            kept=self._observer.headers_moved(raw),
        )
        size, limit = size_of(record), self._limits[topic]
        if size > limit:
            self._note_stuck(raw, topic, f"{size} bytes, and it takes {limit} uncompressed")
            return None
        return RetryLater(record, tier, lane, failure, waits=delay > 0)

    def _note_stuck(self, raw: RawMessage, topic: str, why: str) -> None:
        """Say now and then why a message goes to no tier, since nothing else would tell."""
        if self._clock.monotonic() >= self._report_due:
            self._report_due = self._clock.monotonic() + REPORT_EVERY
            message = Message(raw)
            log.warning("%r cannot wait in %s: %s", message, topic, why, extra=place_of(message))
