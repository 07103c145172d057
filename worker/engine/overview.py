"""The partitions of a pipeline as others see them, and how far they are behind in time."""

from __future__ import annotations

from worker.engine.ends import LogEnds
from worker.engine.partition import Partition
from worker.engine.runner import Runner
from worker.flow.age import furthest
from worker.flow.health import PartitionState, PauseCause
from worker.types import Isolation


class Overview:
    """Looks at partitions each time their state is published."""

    def __init__(self, log_ends: LogEnds, isolation: Isolation) -> None:
        self._log_ends = log_ends
        self._isolation: Isolation = isolation

    def look(self, runner: Runner, now: float, time: float) -> tuple[PartitionState, ...]:
        """The states of the assigned partitions in order; `time` is in seconds since 1970."""
        partitions = sorted(runner.partitions.items())
        fetched = runner.consumer.ends(list(runner.partitions))
        return tuple(
            self._state(runner, partition, fetched.get(source), now, time)
            for source, partition in partitions
        )

    def _state(
        self, runner: Runner, partition: Partition, fetched: int | None, now: float, time: float
    ) -> PartitionState:
        source, tracker, ages = partition.source, partition.tracker, partition.ages
        end = self._note_ages(partition, fetched, now, time)
        at_hand, since = partition.at_hand() or (None, now)
        holds = tracker.committable if at_hand is None else at_hand
        in_runs = sum(run.waiting(in_batches=runner.job.in_batches) for run in partition.runs)
        committed = None if partition.committed is None else partition.committed.offset
        return PartitionState(
            source.topic,
            source.partition,
            position=tracker.position,
            committable=tracker.committable,
            committed=committed,
            end=end,
            in_flight=partition.in_flight,
            paused=partition.paused,
            held_by=holds if partition.held else None,
            at_hand=at_hand,
            at_hand_for=now - since,
            starts=partition.note.starts,
            suspect=partition.note.suspect,
            due_in=partition.due - now if partition.due > now else None,
            fenced=len(partition.fences or ()),
            flooded=partition.is_flooded,
            paused_by=_cause(partition, now, stands=runner.stands),
            waiting=len(partition.lanes) + in_runs,
            ready=partition.lanes.ready,
            at_work=len(partition.runs),
            behind=ages.behind(tracker.committable, end, time),
            commit_age=ages.commit_age(committed, end, now),
            progress=runner.repairs.progress(partition),
            uncommitted_for=runner.repairs.uncommitted_for(partition),
        )

    def _note_ages(
        self, partition: Partition, fetched: int | None, now: float, time: float
    ) -> int | None:
        """Note what is known of when records were written; returns where the log ends."""
        ages, end = partition.ages, fetched
        asked = self._log_ends.known(partition.source, self._isolation)
        if asked is not None:
            end = furthest(fetched, asked.offset)
            ages.ended(asked.offset, time - (now - asked.asked))
        if end is not None:
            ages.reached(end, time)
        for message in (partition.first_unfinished(), partition.latest):
            if message is not None:
                ages.taken(message.offset(), message.timestamp()[1] / 1000)
        return end


def _cause(partition: Partition, now: float, *, stands: bool) -> PauseCause | None:
    if not partition.paused:
        return None
    if partition.due > now:
        return "not_due"
    if partition.held:
        return "held"
    return "blocked" if stands else "full"
