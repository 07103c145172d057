"""Partitions that have messages and do not get on: they are looked for, and repaired."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.engine.ends import LogEnds
from worker.engine.job import Job
from worker.engine.partition import Partition
from worker.errors import ClientError, ClientFatal
from worker.flow.health import Counts
from worker.flow.stuck import (
    Progress,
    Repair,
    Sight,
    Standstill,
    carried_on,
    progress,
    repair_due,
    repaired,
    seen,
)
from worker.ports import Clock, Consumer
from worker.types import Commit, TopicPartition

log = logging.getLogger(__name__)

LONGEST_SILENCE: Final = 20.0
"""Seconds between two answers of the cluster after which all that was seen counts for nothing."""
WORDS: Final[Mapping[Repair, str]] = {
    "seek": "seeking to where it is",
    "pause": "pausing and resuming it",
    "assign": "assigning it anew",
    "renew": "giving the clients up for new ones",
}

GivenUp = dict[TopicPartition, Standstill]
"""Partitions that an earlier client of the pipeline was given up for."""


@dataclass(frozen=True, slots=True)
class _Unmoved:
    """What was committed of a partition while there was more to commit."""

    committed: Commit | None
    since: float


class Repairs:
    """Looks after the partitions of a runner; all of its methods are for the leading thread.

    It looks as often as the cluster says where logs end, and judges only by ends that were asked
    for after it had looked before: so it is never the cluster's silence that makes a partition
    stand still.
    """

    def __init__(
        self,
        job: Job,
        consumer: Consumer,
        log_ends: LogEnds,
        clock: Clock,
        counts: Counts,
        given_up: GivenUp,
    ) -> None:
        self.looked = clock.monotonic()
        """When it last looked, on the monotonic clock; it is to look at each later answer."""
        self._job = job
        self._consumer = consumer
        self._log_ends = log_ends
        self._clock = clock
        self._counts = counts
        self._given_up = given_up
        self._standing: dict[Partition, Standstill] = {}
        self._stuck: set[Partition] = set()
        self._uncommitted: dict[Partition, _Unmoved] = {}

    def look(self, read: Iterable[Partition], uncommitted: Iterable[Partition]) -> None:
        """See what gets on, and repair what does not.

        `read` are the partitions that are polled, of `uncommitted` there is something to commit.
        Raises `ClientFatal` where only a new client may help.
        """
        now = self._clock.monotonic()
        before = self._standing if now - self.looked <= LONGEST_SILENCE else {}
        self.looked, self._standing = now, {}
        for partition, sight in self._sights(list(read)):
            past = before.get(partition) or self._of_earlier_client(partition, sight)
            standstill = seen(past, sight, now)
            if standstill is not None:
                self._standing[partition] = self._mended(partition, standstill)
            if past is not None and past.repairs and sight.position > past.position:
                log.info("%s: %s gets on again", self._job.name, partition.source)
        self._tell_stuck()
        self._uncommitted = {one: self._unmoved(one, now) for one in uncommitted}

    def progress(self, partition: Partition) -> Progress:
        """Whether a partition gets on."""
        return progress(self._standing.get(partition), self._now)

    def uncommitted_for(self, partition: Partition) -> float | None:
        """Seconds for which what is finished of a partition was not committed; None if it was."""
        unmoved = self._uncommitted.get(partition)
        return None if unmoved is None else self._clock.monotonic() - unmoved.since

    @property
    def _now(self) -> float:
        """The moment up to which fetches are answered: a broker may keep an answer back."""
        return self._clock.monotonic() - self._job.max_wait

    def _sights(self, read: Sequence[Partition]) -> Iterator[tuple[Partition, Sight]]:
        """What is seen of the partitions whose ends the cluster has said."""
        fetched = self._consumer.fetched([partition.source for partition in read])
        taken, waiting = self._counts.received, self._consumer.totals().queued
        for partition in read:
            source, position = partition.source, partition.tracker.position
            end = self._log_ends.known(source, self._job.settings.isolation)
            if end is not None:
                sight = Sight(
                    position,
                    fetched.get(source, position),
                    end.offset,
                    taken,
                    waiting,
                    partition.read_since,
                )
                yield partition, sight

    def _of_earlier_client(self, partition: Partition, sight: Sight) -> Standstill | None:
        given_up = self._given_up.pop(partition.source, None)
        return None if given_up is None else carried_on(given_up, sight, self._now)

    def _unmoved(self, partition: Partition, now: float) -> _Unmoved:
        before = self._uncommitted.get(partition)
        if before is not None and before.committed == partition.committed:
            return before
        return _Unmoved(partition.committed, now)

    def _mended(self, partition: Partition, standstill: Standstill) -> Standstill:
        repair = repair_due(standstill, self._now)
        if repair is None:
            return standstill
        source, offset = partition.source, partition.tracker.position
        log.warning(
            "%s: %s has messages and stands at %d: %s",
            self._job.name,
            source,
            offset,
            WORDS[repair],
            extra={"topic": source.topic, "partition": source.partition, "offset": offset},
        )
        self._counts.repairs[repair] = self._counts.repairs.get(repair, 0) + 1
        after = repaired(standstill, self._now)
        if repair == "renew":
            self._given_up[source] = after
            raise ClientFatal(f"{source} has messages and stands at {offset}", retriable=True)
        try:
            self._do(repair, partition)
        except ClientError as error:
            log.warning("%s: %s: in vain: %s", self._job.name, source, error)
        return after

    def _tell_stuck(self) -> None:
        stuck = {one for one in self._standing if self.progress(one) in ("stuck", "hopeless")}
        for partition in stuck - self._stuck:
            at = partition.tracker.position
            log.error(
                "%s: %s stands at %d, and nothing has helped", self._job.name, partition.source, at
            )
        self._stuck = stuck

    def _do(self, repair: Repair, partition: Partition) -> None:
        source, offset = partition.source, partition.tracker.position
        if repair == "seek":
            self._consumer.seek(source, offset)
        elif repair == "pause":
            self._consumer.pause([source])
            self._consumer.resume([source])
        else:
            self._consumer.assign_again(source, offset)
