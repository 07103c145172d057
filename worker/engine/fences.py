"""The log of fences of a group, and what the group has committed in its retry topics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from worker.engine.partition import Partition
from worker.errors import ClientError
from worker.flow.fence import Fences, Lane, decode, fence_record, tier_of
from worker.flow.retry import Tier
from worker.ports import Clock, Consumer, Offsets, Table
from worker.types import Encoded, TopicPartition

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at what is committed in retry topics, while lanes are fenced."""
LOOK_AGAIN_AFTER: Final = 5.0
"""Seconds after a look to which the cluster gave no answer."""

READ_AGAIN_AFTER: Final = 0.05
"""Seconds to wait for a transaction that is open in the log of fences."""
READS: Final = 200

Raised = dict[TopicPartition, dict[Lane, int]]
"""By partition the lanes that are fenced, and the tiers that their messages go to."""
Change = tuple[TopicPartition, Lane, int | None]
"""A lane of a partition that is fenced, with the tier; or none, for one that is free."""


class Known(NamedTuple):
    """What was committed in partitions of retry topics at a moment."""

    committed: Offsets
    since: int
    """The end of the log of fences by then."""


NOTHING: Final = Known({}, 0)


class FenceLog:
    """Which lanes are fenced: owners write those of their partitions, and every member reads all.

    What it keeps are the fences of partitions of retry topics. Each partition has its own ones.
    """

    def __init__(
        self, topic: str, tiers: Sequence[Tier], consumer: Consumer, table: Table, clock: Clock
    ) -> None:
        self._place = TopicPartition(topic, 0)
        self._tiers = [tier.topic for tier in tiers]
        self._consumer = consumer
        self._table = table
        self._clock = clock
        self._raised: Raised = {}
        self._known = NOTHING
        self._has_changed = False
        """Whether a lane was lifted in a tier since the fences were looked at."""
        self._due = 0.0

    def take_over(self, partitions: Iterable[Partition]) -> None:
        """Let partitions have the fences that earlier owners have left; raises `ClientError`."""
        able = [p for p in partitions if p.tier is None or p.tier + 1 < len(self._tiers)]
        if not able:
            return
        self._forget()
        raised: Raised = {}
        for source, lane, tier in self._read_to_the_end():
            _note(raised, source, lane, tier)
        self._raised = {source: raised[source] for source in raised if source.topic in self._tiers}
        left = {p: raised.get(p.source, {}) for p in able}
        ends = self._ends((p, tier) for p, lanes in left.items() for tier in {*lanes.values()})
        for partition, lanes in left.items():
            partition.fences = Fences()
            for lane, tier in lanes.items():
                partition.fences.inherit(lane, tier, ends[self._source(partition, tier)])

    @property
    def due(self) -> float:
        """When it may be looked again."""
        return self._due

    def look(self, partitions: Iterable[Partition]) -> Iterator[tuple[Partition, list[Encoded]]]:
        """What lifts fences that are not needed any more; looked for now and then."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        fenced = {p: p.fences for p in partitions if p.fences and not p.closing}
        if not fenced:
            return
        self._due = now + LOOK_EVERY
        try:
            self._look_at_tiers(fenced)
            for source, lane, tier in self._read():
                if source.topic in self._tiers:
                    _note(self._raised, source, lane, tier)
        except ClientError as error:
            self._due = now + LOOK_AGAIN_AFTER
            self._forget()  # the log may have been made anew by then
            log.warning("lanes stay fenced, since the cluster did not answer: %s", error)
            return
        if self._table.position(self._place) >= self._known.since:
            yield from self._lifted(fenced)

    def _lifted(
        self, fenced: Mapping[Partition, Fences]
    ) -> Iterator[tuple[Partition, list[Encoded]]]:
        committed, self._known = self._known.committed, NOTHING
        has_changed, self._has_changed = self._has_changed, False
        for partition, fences in fenced.items():
            is_above = self._is_above(partition)
            sources = {tier: self._source(partition, tier) for tier in fences.awaited}
            report = {
                tier: committed[source] for tier, source in sources.items() if source in committed
            }
            free = fences.look_above(is_above) if has_changed else []
            lanes = [*free, *fences.report(report, is_above)]
            if lanes:
                topic, source = self._place.topic, partition.source
                yield partition, [fence_record(topic, source, lane, None) for lane in lanes]

    def _forget(self) -> None:
        self._table.forget([self._place])
        self._raised.clear()

    def close(self) -> None:
        """Let go of the client."""
        self._table.close()

    def _source(self, partition: Partition, tier: int) -> TopicPartition:
        return TopicPartition(self._tiers[tier], partition.source.partition)

    def _is_above(self, partition: Partition) -> Callable[[int, Lane], bool]:
        return lambda tier, lane: lane in self._raised.get(self._source(partition, tier), ())

    def _ends(self, tiers: Iterable[tuple[Partition, int]]) -> Mapping[TopicPartition, int]:
        places = {self._source(p, tier) for p, tier in tiers}
        return self._table.ends([*places]) if places else {}

    def _look_at_tiers(self, fenced: Mapping[Partition, Fences]) -> None:
        """See what is committed where fences wait for it, after the ends that they need are known.

        It counts when the log of fences was read up to where it ends by then: a transaction's
        offsets may be seen before the fences that it has raised.
        """
        if self._known is not NOTHING:
            return
        ends = self._ends((p, tier) for p, fences in fenced.items() for tier in fences.tiers)
        for partition, fences in fenced.items():
            fences.mark({tier: ends[self._source(partition, tier)] for tier in fences.tiers})
        places = {self._source(p, tier) for p, fences in fenced.items() for tier in fences.awaited}
        commits = self._consumer.committed([*places]) if places else {}
        offsets = {source: commit.offset if commit else 0 for source, commit in commits.items()}
        self._known = Known(offsets, self._table.ends([self._place])[self._place])

    def _read_to_the_end(self) -> Iterator[Change]:
        """Read all that there is, after transactions that are open: offsets may show before.

        Raises `ClientError` where one stays open, as that of an owner that was killed does.
        """
        end = self._table.ends([self._place])[self._place]
        for _ in range(READS):
            yield from self._read()
            if self._table.position(self._place) >= end:
                return
            self._clock.sleep(READ_AGAIN_AFTER)
        raise ClientError("the log of fences cannot be read to its end: a transaction stays open")

    def _read(self) -> Iterator[Change]:
        """What was written since the last time: a fenced lane with its tier, or one that is free.

        A fence of a tier that was taken away holds nobody: the tier had to be empty for that.
        """
        for record in self._table.read([self._place]):
            place, tier = decode(record.key()), tier_of(record.value())
            if place is not None:
                is_free = tier is None or tier >= len(self._tiers)
                self._has_changed |= is_free
                yield *place, None if is_free else tier


def _note(raised: Raised, source: TopicPartition, lane: Lane, tier: int | None) -> None:
    if tier is None:
        raised.get(source, {}).pop(lane, None)
    else:
        raised.setdefault(source, {})[lane] = tier
