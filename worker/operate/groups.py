"""Consumer groups as an operator handles them: looked at, and reset."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from worker.app import tiers_of
from worker.errors import ClientError, InvalidPartition
from worker.flow import envelope
from worker.flow.reset import Log, Moves, Target, moves
from worker.kafka.admin import KafkaAdmin
from worker.kafka.config import warnings
from worker.kafka.groups import GroupDetails, GroupLine, Groups, has_members
from worker.kafka.reader import Bounds, Reader
from worker.observe.text import escaped
from worker.operate.missing import not_there
from worker.settings import Spec
from worker.settings.patterns import reads
from worker.settings.topics import redrive_topic
from worker.types import Commit, TopicPartition

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is in a partition."""

    source: TopicPartition
    committed: int | None
    """None where the group has committed nothing."""
    end: int | None
    """For readers of what is committed; None where the partition is gone."""
    low: int
    above: int
    """Messages above the committed offset that are handled already, as is noted beside it."""

    @property
    def lag(self) -> int | None:
        """Messages that wait, at most: some offsets may hold none."""
        if self.end is None:
            return None
        return max(0, self.end - max(self.low, self.committed or 0) - self.above)


class Where(NamedTuple):
    """A topic, and which of its partitions; empty for all."""

    topic: str
    partitions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset of a group would do."""

    group: str
    moves: Moves
    left: Sequence[str]
    """Topics of the group that are not reset, since they were not named or are gone."""


class GroupKeeper:
    """The groups of the cluster of a spec, and what its pipelines read.

    Every method raises `BrokersUnreachable` or another `ClientError` without an answer.
    """

    def __init__(self, spec: Spec) -> None:
        self._kafka = spec.kafka
        self._admin = KafkaAdmin(spec.kafka)
        self._groups = Groups(self._admin.asking)
        self._pipelines = {spec.group(name): name for name in spec.pipelines}
        self._spec = spec
        for warning in warnings(spec.kafka):
            log.warning("%s", warning)

    @property
    def pipelines(self) -> Mapping[str, str]:
        """The pipelines of the spec by their groups."""
        return self._pipelines

    def all(self) -> Sequence[GroupLine]:
        """Every group that this user may see."""
        return self._groups.all()

    def describe(self, group: str) -> GroupDetails:
        """A group with its members; raises `ClientError` where there is none."""
        found = self._groups.describe(group)
        if found is None:
            raise self._not_there(group)
        return found

    def lag(self, group: str) -> Sequence[Lag]:
        """How far a group is in each partition of what it reads, or has read."""
        committed = self._groups.committed(group)
        read = {source.topic for source in committed} | set(self._own_and_sources(group))
        there = self._admin.describe(sorted(read))
        with Reader(self._kafka) as reader:
            logs = {
                source: bounds
                for topic in sorted(there)
                for source, bounds in reader.since(topic, "oldest").items()
            }
        sources = sorted({*logs, *committed})
        if not sources:
            raise self._not_there(group)
        return [_lag(one, committed.get(one), logs.get(one)) for one in sources]

    def plan(self, group: str, target: Target, where: Sequence[Where]) -> Reset:
        """Find out what a reset would do; raises `ClientError` where it cannot be done.

        Without `where` all topics that the group reads or has read, but for those of retries and
        redriven dead letters, where messages wait that are at no other place.
        """
        found = self._groups.describe(group)
        if found is not None and found.members:
            hosts = ", ".join(sorted({f"{one.client} on {one.host}" for one in found.members}))
            raise has_members(group, text=f" ({escaped(hosts)})")
        committed = self._groups.committed(group)
        asked = where or [Where(topic) for topic in self._resettable(group, committed)]
        if not asked:
            raise ClientError(
                f"group {group} has committed nothing", advice="name the topics with --topic"
            )
        there = self._admin.describe([one.topic for one in asked])
        gone = [one.topic for one in asked if one.topic not in there]
        if where and gone:
            raise not_there(gone, self._admin.names(), "`worker topics list` shows those that are")
        logs = self._logs([one for one in asked if one.topic in there], target)
        planned = moves(target, logs, committed)
        if planned.problems:
            raise ClientError("; ".join(planned.problems))
        touched = {source.topic for source in logs}
        left = {source.topic for source in committed} - touched
        return Reset(group, planned, sorted(left))

    def reset(self, reset: Reset) -> Mapping[TopicPartition, str | None]:
        """Commit what was planned; returns by partition why it was refused, or None."""
        return self._groups.reset(
            reset.group, {move.source: move.to for move in reset.moves.changes}
        )

    # --- details ---

    def _own_and_sources(self, group: str) -> list[str]:
        """The topics that the pipeline of a group reads, those of its own too, be some missing."""
        name = self._pipelines.get(group)
        if name is None:
            return []
        sources = self._spec.pipelines[name].source
        named = [topic for topic in self._admin.names() if reads(sources, topic)]
        return [*named, *self._own(group)]

    def _own(self, group: str) -> list[str]:
        """Topics of a group in which messages wait that are at no other place."""
        name = self._pipelines.get(group)
        tiers = [] if name is None else tiers_of(self._spec, name)
        return [*(tier.topic for tier in tiers), redrive_topic(group)]

    def _resettable(self, group: str, committed: Mapping[TopicPartition, Commit]) -> list[str]:
        read = {source.topic for source in committed} | set(self._own_and_sources(group))
        prefix = f"{group}.retry."
        return sorted(
            topic
            for topic in read
            if topic != redrive_topic(group) and not topic.startswith(prefix)
        )

    def _logs(self, where: Sequence[Where], target: Target) -> dict[TopicPartition, Log]:
        logs: dict[TopicPartition, Log] = {}
        with Reader(self._kafka) as reader:
            for topic, partitions in where:
                bounds = reader.since(topic, "oldest")
                found = reader.since(topic, target) if isinstance(target, datetime) else bounds
                wanted = [TopicPartition(topic, one) for one in partitions] or list(bounds)
                unknown = [str(one) for one in wanted if one not in bounds]
                if unknown:
                    raise InvalidPartition(
                        f"no such partition: {', '.join(unknown)}",
                        advice=f"legal are 0 to {len(bounds) - 1}",
                    )
                logs |= {one: Log(*bounds[one], found[one].low) for one in wanted}
        return logs

    def _not_there(self, group: str) -> ClientError:
        text = f"group {group} does not exist, or has nothing to tell"
        return ClientError(text, advice=self._hint(group))

    def _hint(self, group: str) -> str:
        name = self._pipelines.get(group)
        if name is not None:
            return f"pipeline {name} makes it when it runs, `worker plan` shows what that lacks"
        known = [*self._pipelines, *(line.name for line in self._groups.all())]
        near = difflib.get_close_matches(group, [one for one in known if one != group], 1)
        return f"did you mean {near[0]}?" if near else "worker groups list shows those there are"


def _lag(source: TopicPartition, commit: Commit | None, bounds: Bounds | None) -> Lag:
    low, end = (0, None) if bounds is None else bounds
    if commit is None:
        return Lag(source, None, end, low, 0)
    finished = envelope.decode(commit.metadata, commit.offset) or ()
    return Lag(source, commit.offset, end, low, sum(last - first for first, last in finished))
