"""How a runner finds out which message ends the process: the rules are those of `flow.crashes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from worker.engine.floor import Floor, Turn
from worker.engine.partition import Partition
from worker.flow import crashes
from worker.flow.gate import GatedLanes
from worker.ports import Clock
from worker.types import RawMessage

RETRY_AFTER: Final = 1.0
"""Seconds after a commit that has failed in which nothing is tried."""

How = Literal["alone", "apart", "given up"]


class Attempt(NamedTuple):
    """A message that is to be tried next, and how."""

    partition: Partition
    messages: list[RawMessage]
    how: How


class Trial:
    """Partitions whose owners have ended in a row, and the messages of theirs that are tried."""

    def __init__(self, floor: Floor, member: object, clock: Clock, *, can_be_apart: bool) -> None:
        self.can_be_apart = can_be_apart
        """Whether a message can be given to a process apart."""
        self.apart: Final[set[Partition]] = set()
        """Partitions of which a message is there."""
        self.watched: Final[dict[Partition, int]] = {}
        """Partitions with starts after a crash, and where they began."""
        self.turn: Turn | None = None
        """What was asked for to be alone; nothing else may be handed out meanwhile."""
        self._floor = floor
        self._member = member
        self._clock = clock
        self._gated: list[Partition] = []
        """Those of which messages are tried one at a time."""
        self._alone: Partition | None = None
        """The one of which a message is at work alone."""
        self._until = 0.0
        """Until when the others wait."""
        self._not_before = 0.0

    def watch(self, partition: Partition, region: int, end: int | None) -> None:
        """Take a partition in; its first `region` messages below `end` are in doubt."""
        if partition.note.alone:
            partition.lanes = lanes = GatedLanes(partition.lanes, region)
            if end is not None:
                lanes.bound(end)
            self._gated.append(partition)
        if partition.note.starts:
            self.watched[partition] = partition.tracker.committable

    def let_go(self, partition: Partition) -> bool:
        """Forget a partition; whether its suspect is at work, so that this try says nothing."""
        at_work = partition is self._alone and not _is_through(partition)
        if _is_through(partition):
            partition.note = crashes.survived(partition.note)
        self._forget(partition)
        return at_work

    def close(self) -> None:
        """Let the other pipelines go on."""
        if self.turn is not None:
            self._floor.give_up(self.turn)
            self.turn = None

    @property
    def partitions(self) -> Sequence[Partition]:
        """Those of which messages are tried one at a time."""
        return self._gated

    @property
    def waits(self) -> bool:
        """Whether the next message has to wait for the one before, or for others."""
        return self._alone is None or not _is_through(self._alone)

    def look(self) -> None:
        """Take note of what is through."""
        for partition, began in list(self.watched.items()):
            if not partition.alive or partition.closing:
                self._forget(partition)
            elif partition in self._gated:
                self._look_at(partition)
            elif partition.tracker.committable > began:
                partition.note = crashes.passed(partition.note)
                self._forget(partition)
            elif _is_through(partition):
                partition.note = crashes.survived(partition.note)

    def next(self, *, idle: bool) -> Attempt | None:
        """The message that is to be tried now; `idle` if no handler of this pipeline has any."""
        if self._clock.monotonic() < self._not_before:
            return None
        ready = [partition for partition in self._gated if partition.lanes.ready]
        for partition in ready:
            how = self._how(partition)
            if how != "alone":
                return self._attempt(partition, how)
        if not ready and self._alone is None:
            self.close()
            return None
        now = self._clock.monotonic()
        if self.turn is None:
            starts = max(partition.note.starts for partition in self._gated)
            self.turn = self._floor.ask(self._member)
            self._until = now + crashes.patience(starts)
        if now > self._until:
            self._go_on_beside()
        elif self._alone is None and idle and self._floor.is_alone(self.turn):
            return self._attempt(ready[0], "alone")
        return None

    def take_back(self, attempt: Attempt) -> None:
        """Try the message again a little later: it could not be named, or not be handled."""
        partition = attempt.partition
        partition.lanes.release(attempt.messages, 0)
        if attempt.how == "alone":
            partition.note = crashes.without_try(partition.note)
            self._alone = None
        self._not_before = self._clock.monotonic() + RETRY_AFTER

    def _look_at(self, partition: Partition) -> None:
        lanes, tracker, note = _gate(partition), partition.tracker, partition.note
        if _is_through(partition):
            given_up = note.condemned and partition is not self._alone
            partition.note = crashes.passed(note) if given_up else crashes.survived(note)
            self.apart.discard(partition)
            self._alone = None if partition is self._alone else self._alone
        elif partition is self._alone and lanes.ready:  # it was not handled
            partition.note = crashes.without_try(note)
            self._alone = None
        if tracker.committable >= lanes.end:
            partition.note = crashes.passed(partition.note)
        if not partition.note.starts:
            partition.lanes = lanes.open()
            self._forget(partition)
            return
        lanes.let_in(tracker.is_finished, partition.note.suspect)

    def _how(self, partition: Partition) -> How:
        note = partition.note
        if note.condemned:
            return "given up"
        if partition in self.apart or (self.can_be_apart and note.tries and not note.apart):
            return "apart"
        return "alone"

    def _attempt(self, partition: Partition, how: How) -> Attempt | None:
        messages = partition.lanes.take(1)
        if not messages:
            return None
        if how == "apart":
            self.apart.add(partition)
            partition.note = crashes.tried_apart(partition.note)
        elif how == "alone":
            self._alone = partition
            partition.note = crashes.tried(partition.note, messages[0].offset())
            self._gated.remove(partition)
            self._gated.append(partition)
        return Attempt(partition, messages, how)

    def _go_on_beside(self) -> None:
        """Handle these partitions like all others: they kept the others waiting for too long."""
        self.close()
        for partition in [one for one in self._gated if one not in self.apart]:
            at_work = partition is self._alone
            first = partition.tracker.committable
            partition.note = crashes.beside(partition.note, first, at_work=at_work)
            partition.lanes = _gate(partition).open()
            self._forget(partition)
            self.watched[partition] = partition.tracker.committable

    def _forget(self, partition: Partition) -> None:
        self.watched.pop(partition, None)
        self.apart.discard(partition)
        if partition in self._gated:
            self._gated.remove(partition)
        if partition is self._alone:
            self._alone = None


def _is_through(partition: Partition) -> bool:
    """Whether the suspect is finished."""
    suspect = partition.note.suspect
    return suspect is not None and partition.tracker.is_finished(suspect)


def _gate(partition: Partition) -> GatedLanes:
    assert isinstance(partition.lanes, GatedLanes)  # noqa: S101 - see `Trial.watch`
    return partition.lanes
