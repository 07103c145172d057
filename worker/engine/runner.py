"""The loop of one pipeline, taken by one thread at a time: consumer, producer and all its state."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from math import inf

from worker.engine.apart import Apart
from worker.engine.chunk import Chunk
from worker.engine.commit import AtLeastOnce, Needs
from worker.engine.exactly import ExactlyOnce
from worker.engine.fences import FenceLog
from worker.engine.inherited import Inherited, inherited, named
from worker.engine.job import Clients, Job
from worker.engine.moves import Follower, Moves
from worker.engine.partition import POLL_LIMIT, Finished, Partition, Run, together
from worker.engine.pool import Pool
from worker.engine.repairs import GivenUp, Repairs
from worker.engine.settlement import Postponed, Settlement
from worker.engine.starts import starts_of
from worker.engine.trial import Attempt, Trial
from worker.errors import ClientError, PipelineFailed, WorkerError
from worker.flow import crashes, envelope
from worker.flow.age import Ages
from worker.flow.counted import counted
from worker.flow.crashes import Note
from worker.flow.failures import FailureGroups
from worker.flow.flood import Flood
from worker.flow.gate import GatedLanes
from worker.flow.health import Counts
from worker.flow.later import due_first, least_pause
from worker.flow.offsets import Ranges
from worker.flow.pressure import Pressure
from worker.flow.rate import Rate, Unlimited
from worker.flow.rebalances import Rebalances
from worker.flow.recovery import Recovery
from worker.flow.timing import Laps
from worker.ports import Clock, Commits, Observer, Offsets
from worker.types import (
    Commit,
    Fetch,
    RawMessage,
    TopicPartition,
    bytes_of,
)

log = logging.getLogger(__name__)

IDLE_WAIT = 0.1
"""Seconds that an idle runner waits in one poll; a stop is noticed within it."""
WAKE_EVERY = 0.005
"""Seconds that it waits at least, however many lanes wait for a time."""
BUSY_WAIT = 0.005
"""Seconds to wait for outcomes while more messages could be taken."""
FULL_WAIT = 0.05
"""Seconds to wait for outcomes or acknowledgements while no more messages can be taken."""
SIP_AFTER = 0.5
"""Seconds after which one message is polled, for the membership, though handlers have enough."""
PAUSE_AFTER = 1.0
"""Seconds without room for one more after which partitions are paused, so that polling can go on.

Not at once: a pause throws away what the client has fetched ahead.
"""

TIMED = 16
"""Runs of a step that are timed, of more one in so many."""
HELD_FOR = 0.2
"""Seconds after which a message is looked at again that waits for the end of its lane's fence."""

Late = dict[TopicPartition, dict[Run, None]]
"""Runs that are out and whose partitions are dead, in the order of their messages."""


class Runner:
    """One membership in the group: from joining to leaving it; implements `ports.Rebalance`."""

    stands = False
    """Whether nothing is handled: records cannot be delivered, or the breaker is open."""

    def __init__(
        self,
        job: Job,
        clients: Clients,
        pool: Pool,
        clock: Clock,
        observer: Observer,
        counts: Counts,
        groups: FailureGroups,
        late: Late,
        given_up: GivenUp,
    ) -> None:
        self.job = job
        self.counts = counts
        self._laps = Laps(counts.stages)
        self.pressure = Pressure(job.settings.in_flight.messages, job.settings.in_flight.bytes)
        self.partitions: dict[TopicPartition, Partition] = {}
        self.failed: str | None = None
        """Why the pipeline cannot go on."""
        self._moves = Moves(job, clients.limits, clients.partitions, clock, observer)
        self.settlement = Settlement(
            job, clients.limits, self._moves, clock, observer, counts, groups
        )
        self._tiers = {tier.topic: place for place, tier in enumerate(job.tiers)}
        self._clients = clients
        self._pool = pool
        self._clock = clock
        self._rate = Unlimited() if job.rate is None else Rate(job.rate)
        self._rebalances = Rebalances()
        self._breaker = job.breaker
        self._may_flood = job.settings.flood_limit is not None
        self._going: Sequence[Partition] = ()
        """Those that were not flooded lately: what waits in others keeps nobody busy."""
        self._is_too_fast = False
        """Whether only its rate or its breaker kept the last step from handing more over."""
        self._wake_at = inf
        """When the first of the lanes goes on that wait for a time, on the monotonic clock."""
        self._draining = False
        self._mapless = False
        """Whether the broker takes no maps beside offsets."""
        self._late = late
        self._lost: dict[TopicPartition, None] = {}
        """Partitions whose offset is gone, as they were told."""
        self._recovery = Recovery()
        self._full_since: float | None = None
        self._paused = False
        self._trial = Trial(job.floor, pool, clock, can_be_apart=job.apart is not None)
        self._apart = Apart(job.apart)
        with ExitStack() as undo:
            self.consumer = clients.consumer()
            undo.callback(self.consumer.close)
            self.committer = self._make_committer()
            undo.callback(self.committer.close, 0.0)
            self._fence_log = self._make_fence_log()
            if self._fence_log is not None:
                undo.callback(self._fence_log.close)
            self.repairs = Repairs(job, self.consumer, clients.log_ends, clock, counts, given_up)
            self.consumer.subscribe(job.topics, self)
            undo.pop_all()
        if pool.in_process:
            job.floor.join(pool)
        self._laps.end("other")

    def step(self) -> None:
        """Do one round: from what handlers have given back to what they are given next."""
        self._settle()
        self._laps.end("blocked" if self.stands else "produce")
        self._commit()
        if self._fence_log is not None:
            self._lift_fences(self._fence_log)
        self._recover()
        away = self._breaker is not None and self._breaker.is_open
        self.stands = away or self._recovery.resume_at is not None
        self._balance()
        self._admit()
        self._dispatch()
        self._laps.end("other")

    @property
    def blocked(self) -> str | None:
        """Why records cannot be delivered at the moment."""
        return self._recovery.why

    @property
    def runs(self) -> Iterator[Run]:
        """Those that are out, of dead partitions too."""
        yield from (run for partition in self.partitions.values() for run in partition.runs)
        yield from chain.from_iterable(self._late.values())

    @property
    def due(self) -> float:
        """When a step has something to do, on the monotonic clock, if nothing happens before.

        Not in the future where it has already; infinite while it only waits for others: messages,
        handlers or brokers.
        """
        if self._recovery.resume_at is not None:
            return min(self._recovery.resume_at, self._commit_due)
        if self.failed is not None or self.committer.failure is not None or self._lost:
            return -inf
        if self._may_read_on:
            return -inf
        waiting = (p.due for p in self.partitions.values() if p.paused and p.tier is not None)
        return min(self._commit_due, self._hand_out_due, self._wake_at, *waiting)

    @property
    def looks_at(self) -> float:
        """When it looks next what others have committed; infinite while nothing waits for that."""
        if self._fence_log is None or not any(p.fences for p in self.partitions.values()):
            return inf
        return self._fence_log.due

    def drain(self, meanwhile: Callable[[], object] = lambda: None) -> bool:
        """Finish, acknowledge and commit what handlers have; whether all of that was in time."""
        deadline = self._clock.monotonic() + self.job.settings.drain_timeout
        self._draining = True
        self._trial.close()
        self._pass_control_records()
        self.consumer.pause(list(self.partitions))
        if not self.committer.committing:
            self.committer.commit_now(self.partitions.values(), wait=False)

        def go_on() -> None:
            self._keep_membership()
            meanwhile()

        self._finish(self.partitions.values(), deadline, go_on)
        self._give_back(self.partitions.values())
        self._commit_until(deadline)
        return self._is_drained()

    def _is_drained(self) -> bool:
        """Whether nothing is left of what handlers had; says so when something is."""
        in_flight = sum(partition.in_flight for partition in self.partitions.values())
        uncommitted = named(self.committer.uncommitted(self.partitions.values()))
        if not (in_flight or self._uncommitted):
            return True
        why = self.committer.failure or f"after drain_timeout: {self.job.settings.drain_timeout:g}s"
        log.warning(
            "%s: %s in flight, not committed: %s; they will be handled again: %s",
            self.job.name,
            counted(in_flight),
            uncommitted,
            why,
        )
        return False

    def close(self) -> None:
        """Leave the group and let go of the clients, whatever is in flight."""
        self._drop(list(self.partitions))
        self._trial.close()
        self._close_apart()
        if not self._pool.outstanding:
            self.job.floor.leave(self._pool)
        try:
            self.consumer.close()
        finally:
            self._note_rebalance(self._rebalances.end())
            self.committer.close(0.0)
            if self._fence_log is not None:
                self._fence_log.close()

    # --- what the consumer tells ---

    def admitted(self) -> None:
        """Be who writes results from now on; in vain it is tried again as after any failure."""
        with suppress(ClientError):
            self.committer.take_over()

    def assigned(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        """Take partitions over from their committed offset, or from where they start."""
        with self._rebalance(begins=self._rebalances.assigned(len(committed))):
            return self._take_over(committed)

    def _take_over(self, committed: Mapping[TopicPartition, Commit | None]) -> Offsets:
        fresh = [source for source, commit in committed.items() if commit is None]
        starts = {source: commit.offset for source, commit in committed.items() if commit}
        if fresh:
            job = self.job
            sources = job.settings.source
            starts |= starts_of(self.consumer, fresh, job.settings.start, sources, job.there)
        notes = {source: self._note_of(commit) for source, commit in committed.items()}
        left = inherited(self.job.name, self.consumer, starts, committed, notes)
        for source, one in left.items():
            self.partitions[source] = self._partition(source, one)
        self._take_over_fences([self.partitions[source] for source in starts])
        log.info("%s: assigned %s", self.job.name, named(starts))
        if self._pool.in_process and not self._draining:
            self.committer.commit_now([self.partitions[source] for source in starts], wait=True)
        return starts

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Finish what handlers have of these partitions, commit it, and forget them."""
        leaving = [self.partitions[p] for p in partitions if p in self.partitions]
        with self._rebalance(begins=self._begins_without(leaving)):
            self._finish(leaving, self._clock.monotonic() + self.job.settings.revoke_timeout)
            self._give_back(leaving)
            self.committer.commit_now(leaving, wait=True)
            self._drop(partitions)
        if leaving:
            log.info("%s: revoked %s", self.job.name, named(partitions))

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget partitions without committing; a transaction with results of theirs is over."""
        leaving = [self.partitions[p] for p in partitions if p in self.partitions]
        with self._rebalance(begins=self._begins_without(leaving)):
            self._drop(partitions)
            self.committer.commit_now((), wait=True)
        log.warning("%s: lost %s", self.job.name, named(partitions))

    def _begins_without(self, leaving: Sequence[Partition]) -> bool:
        return self._rebalances.taken(len(leaving), left=len(self.partitions) - len(leaving))

    @contextmanager
    def _rebalance(self, *, begins: bool) -> Iterator[None]:
        """Time what the `with` block does for a rebalance; nothing else goes on meanwhile."""
        self._laps.end("poll")
        self.counts.rebalances += begins
        begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._note_rebalance(self._rebalances.took(self._clock.monotonic() - begun))
            self._laps.end("other")

    def _note_rebalance(self, seconds: float | None) -> None:
        if seconds is not None:
            self.counts.rebalancing.note(seconds)

    def offset_lost(self, partition: TopicPartition) -> None:
        """Remember to find a new place in a partition whose offset is gone."""
        self._lost[partition] = None

    def committed(self, commits: Commits, error: str | None) -> None:
        """Take note of how an asynchronous commit has ended."""
        self.committer.committed(self.partitions.values(), commits, error)

    # --- the stages of a step ---

    def _admit(self) -> None:
        room = self._wanted
        if not room and not self._paused:
            if self._full_since is None:
                self._full_since = self._clock.monotonic()
            return
        self._full_since = None
        share = self.pressure.share(len(self.partitions)).messages
        limit = min(POLL_LIMIT, self.pressure.portion, room, share)
        wait = self._poll_wait()
        self._laps.end("other")
        fetches = self.consumer.poll(max(1, limit), wait)
        self._laps.end("poll" if not wait else "blocked" if self.stands else "waiting")
        for fetch in fetches:
            self._take(fetch)
        for source in list(self._lost):
            del self._lost[source]
            self._find_new_place(source)

    def _dispatch(self) -> None:
        self._going = list(self.partitions.values())
        if self._may_flood:
            self._going = [p for p in self._going if not p.is_flooded]
        if self.committer.outbox or self._is_blocked or self.failed is not None:
            self._makes_way()
            return
        now = self._clock.monotonic()
        self._wake_at = inf
        for partition in self.partitions.values():
            self._wake_at = min(self._wake_at, partition.lanes.wake(now))
        room = before = self._room(now)
        turns = deque(self.partitions.values())
        if self._may_flood:
            turns = deque(p for p in turns if p.may_go(now))
        most = 1 if self.settlement.careful else self.job.run_limit
        limit = min(most, self.pressure.portion, self._pool.appetite)
        while turns and room and not self._pool.saturated:
            partition = turns.popleft()
            probes = partition.is_flooded
            taken = messages = partition.lanes.take(1 if probes else min(limit, room))
            if taken and partition.fences:
                messages = self._past_fences(partition, taken, now)
            if messages:
                room -= len(messages)
                self._rate.take(len(messages), now)
                run = Run(partition, messages)
                partition.runs.add(run)
                self._pool.submit(run)
                # In the next step, too, its turn comes after those of the others.
                self.partitions[partition.source] = self.partitions.pop(partition.source)
            if taken and not probes:
                turns.append(partition)
        self._is_too_fast = not room
        if self._breaker is not None and room < before:
            self._breaker.take(now)

    def _settle(self) -> None:
        full = not self.pressure.room
        self._settle_finished(FULL_WAIT if full else BUSY_WAIT)
        if not self._is_blocked:
            waits_only_for_acks = not self._pool.outstanding and (
                full
                or self.committer.outbox
                or (self._trial.turn is not None and self._trial.waits)
            )
            self.committer.serve(FULL_WAIT if waits_only_for_acks else 0.0)

    def _commit(self) -> None:
        if self.committer.due or (self._trial.turn is not None and self._hurries):
            self._pass_control_records()
            self.committer.commit_now(self.partitions.values(), wait=False)

    def _recover(self) -> None:
        if self.committer.failure is None:
            if self._recovery.positions:
                self._look_whether_through()
            elif self.settlement.careful and self.committer.clear():
                self._go_back_to_batches()
        elif self._recovery.resume_at is None:
            self._rewind(self.committer.failure)
        elif self._clock.monotonic() >= self._recovery.resume_at:
            self._try_again()

    def _balance(self) -> None:
        if self._full_since is not None:
            self._paused |= self._clock.monotonic() - self._full_since >= PAUSE_AFTER
        elif self._paused and self._may_read_on:  # asked first: each step comes by here
            self._paused = False
        share = self.pressure.share(len(self.partitions))
        now = self._clock.monotonic()
        changed: dict[bool, list[TopicPartition]] = {True: [], False: []}
        for partition in self.partitions.values():
            partition.hold(share)
            pause = self._paused or partition.held or partition.due > now
            if partition.paused is not pause:
                partition.paused, partition.read_since = pause, now
                changed[pause].append(partition.source)
        if changed[True]:
            self.consumer.pause(changed[True])
        if changed[False]:
            self.consumer.resume(changed[False])
        if self._clients.log_ends.asked > self.repairs.looked:
            uncommitted = self.committer.uncommitted(self.partitions.values())
            self.repairs.look(self._read, [self.partitions[source] for source in uncommitted])

    @property
    def _read(self) -> list[Partition]:
        """The partitions that messages are polled of, as far as the cluster allows it."""
        if self.consumer.denied is not None:
            return []
        return [one for one in self.partitions.values() if not (one.paused or one.closing)]

    @property
    def _may_read_on(self) -> bool:
        """Whether what was paused since it was full is not any more."""
        if not self._paused or self._full_since is not None or self._is_blocked:
            return False
        return self.pressure.relieved or self._is_idle

    # --- when there is something to do ---

    @property
    def _commit_due(self) -> float:
        due = self._clock.monotonic() + self.committer.due_in
        return min(due, self.committer.offsets_due) if self._has_to_commit else due

    @property
    def _has_to_commit(self) -> bool:
        if self.committer.uncommitted(self.partitions.values()):
            return True
        positions = self.consumer.positions([*self.partitions])
        return any(self.partitions[p].tracker.position < at for p, at in positions.items())

    @property
    def _hand_out_due(self) -> float:
        if self._trial.turn is not None or self.job.floor.turns:
            return self._clock.monotonic() + IDLE_WAIT
        if self._pool.saturated or self.committer.outbox:
            return inf
        ready = [p for p in self.partitions.values() if p.lanes.ready]
        probes = [p.flood.probe_at for p in ready if p.flood is not None and p.is_flooded]
        first = -inf if len(probes) < len(ready) else min(probes, default=inf)
        return max(first, self._rate.due, -inf if self._breaker is None else self._breaker.due)

    # --- admitting ---

    @property
    def _wanted(self) -> int:
        """How many messages to poll for: one now and then while handlers have enough."""
        room = 0 if self._is_blocked else self.pressure.room
        if not room or not self._has_enough():
            return room
        since = self._full_since
        return int(since is not None and self._clock.monotonic() - since >= SIP_AFTER)

    def _poll_wait(self) -> float:
        busy = self._pool.outstanding or self.committer.outbox or self._has_work()
        busy = busy or self._trial.turn is not None
        if busy and not self._is_blocked:
            return 0.0
        if self._is_blocked:
            return IDLE_WAIT
        wake_in = min(self._wake_at - self._clock.monotonic(), self.committer.due_in)
        return min(IDLE_WAIT, max(WAKE_EVERY, wake_in))

    def _partition(self, source: TopicPartition, left: Inherited) -> Partition:
        tier = self._tiers.get(source.topic)
        lanes = self.job.lanes() if tier is None else self.job.tier_lanes()
        for run in self._late.get(source, ()):
            lanes.occupy(run.messages)
        partition = Partition(source, left.start, left.committed, lanes, left.finished, left.note)
        partition.tier = tier
        if self.job.settings.flood_limit is not None:
            partition.flood = Flood(self.job.settings.flood_limit)
        partition.closing = self._draining
        if not self._draining:
            self._trial.watch(partition, self.job.settings.at_stake, left.end)
        return partition

    def _has_work(self) -> bool:
        return not self._is_too_fast and any(p.lanes.ready for p in self._going)

    def _has_enough(self) -> bool:
        """Whether handlers have enough to go on with: more would only get cold.

        Not while the pipeline is too fast: then partitions are held, and polling is what waits.
        """
        if self._is_too_fast:
            return False
        enough = min(POLL_LIMIT, self.pressure.portion)
        if self._pool.saturated:
            return sum(len(p.lanes) for p in self._going) >= enough
        return sum(p.lanes.ready for p in self._going) >= enough

    @property
    def _is_idle(self) -> bool:
        """Whether nothing waits for handlers, although there is room for more."""
        return self.pressure.room > 0 and not any(len(p.lanes) for p in self.partitions.values())

    def _take(self, fetch: Fetch) -> None:
        partition = self.partitions.get(fetch.source)
        if partition is None or partition.closing:
            return
        if partition.tier is not None:
            fetch = self._only_due(partition, fetch)
            if not fetch.messages:
                return
        taken = partition.take(fetch)
        self.pressure.add(len(taken.messages), taken.size)
        self.counts.received += len(fetch.messages)
        self.counts.received_bytes += fetch.size
        self.counts.passed_over += len(fetch.messages) - len(taken.messages)

    def _only_due(self, partition: Partition, fetch: Fetch) -> Fetch:
        """What is due of a retry topic: the rest stays there, and is read when it is due."""
        now = self._clock.monotonic()
        if partition.due > now:  # the same poll has met what is not due
            return Fetch(fetch.source, [], 0)
        delay = self.job.tiers[partition.passed - 1].delay
        number, wait = due_first(fetch.messages, self._clock.time(), delay)
        if number == len(fetch.messages):
            return fetch
        partition.due = now + max(wait, least_pause(delay))
        self.consumer.seek(fetch.source, fetch.messages[number].offset())
        messages = fetch.messages[:number]
        return Fetch(fetch.source, messages, bytes_of(messages))

    def _pass_control_records(self) -> None:
        """Note what lies behind the last messages: a group that stayed in front would be behind.

        Only where all that was polled has been taken: in no callback, and of none that closes.
        """
        reading = [source for source, p in self.partitions.items() if not p.closing]
        for source, offset in self.consumer.positions(reading).items():
            self.partitions[source].tracker.skip_to(offset)

    def _find_new_place(self, source: TopicPartition) -> None:
        partition = self.partitions.get(source)
        if partition is None:
            return
        gone = partition.tracker.position
        place = self.job.settings.on_offset_lost
        if place == "stop":
            self._fail(
                f"offset {gone} of {source} is no longer in the log; start again with "
                "`on_offset_lost: oldest` or `newest`, or set the group's offset"
            )
            return
        start = self.consumer.find([source], place)[source]
        log.error("%s: %s goes on at %d instead of %d", self.job.name, source, start, gone)
        if start >= gone:
            self.counts.lost_offsets += start - gone
            partition.tracker.skip_to(start)
            self.consumer.seek(source, start)
        else:
            self.counts.lost_offsets += max(0, start - partition.tracker.committable)
            self._recovery.forget(source)
            successor = self._replace(partition, start)
            successor.ages = Ages()
            self._take_over_fences([successor])

    # --- settling ---

    def _settle_finished(self, timeout: float) -> None:
        collected = self._pool.collect(timeout)
        if self._apart.is_open:
            collected += self._collect_apart()
        if collected:
            self._note_times(collected)
        self._laps.end_handling(len(collected))
        for finished in collected:
            self._note_back(finished.run)
        for finished in collected if self.settlement.careful else together(collected):
            self._settle_run(finished)

    def _note_times(self, collected: Sequence[Finished]) -> None:
        """Note how long messages took; of many runs some stand for all, since noting costs, too."""
        every = 1 + len(collected) // TIMED
        for place in range(0, len(collected), every):
            one = collected[place]
            if one.outcomes:
                number = len(one.outcomes)
                stands_for = min(every, len(collected) - place)
                self.counts.handling.note(one.seconds / number, number * stands_for)
            if one.run.decoding is not None and one.seconds:
                self._laps.measured(one.run.decoding, one.seconds)

    def _note_back(self, run: Run) -> None:
        source = run.partition.source
        run.partition.runs.discard(run)
        if run in self._late.get(source, ()):
            del self._late[source][run]
            if source in self.partitions:
                self.partitions[source].lanes.vacate(run.messages)

    def _settle_run(self, finished: Finished) -> None:
        if finished.error is not None:
            raise PipelineFailed(f"a defect of the worker: {finished.error!r}") from finished.error
        run = finished.run
        if not run.partition.alive:
            self.counts.dropped += len(finished.outcomes)
            return
        chunk, postponed, stop = self.settlement.chunk(run, finished.outcomes)
        if stop is not None:
            self._fail(stop)
        if run.partition.closing or stop is not None:
            self._forget(run.partition, len(run.messages) - chunk.messages)
            run.partition.lanes.release(run.messages, len(run.messages))
        else:
            messages = _without(run.messages, postponed) if postponed else run.messages
            run.partition.lanes.release(messages, chunk.messages)
            for one in postponed:
                if one.due is None:
                    run.partition.lanes.defer(one.message)
                else:
                    run.partition.lanes.postpone(one.message, one.due)
                    self._wake_at = min(self._wake_at, one.due)
            self._rate.give_back(len(messages) - chunk.messages)
        if chunk.messages:
            self.committer.deliver(chunk)

    def _stored(self, chunk: Chunk) -> None:
        chunk.partition.let_go(chunk.messages, chunk.size)
        self.pressure.remove(chunk.messages, chunk.size)

    def _finished(self, chunk: Chunk) -> None:
        chunk.partition.finish(chunk.ranges)
        self.settlement.finished(chunk)
        if chunk.number and self._recovery.why is not None:
            self._note_delivered()

    # --- fences ---

    def _make_fence_log(self) -> FenceLog | None:
        topic, table = self.job.fence, self._clients.table
        if topic is None or table is None:
            return None
        return FenceLog(topic, self.job.tiers, self.consumer, table(), self._clock)

    def _take_over_fences(self, partitions: Iterable[Partition]) -> None:
        """Learn what earlier owners have fenced, or this one before a rewind: the log has it."""
        if self._fence_log is not None and not self._draining:
            self._fence_log.take_over(partitions)

    def _lift_fences(self, fence_log: FenceLog) -> None:
        if self._is_blocked:
            return
        for partition, records in fence_log.look(self.partitions.values()):
            chunk = Chunk(partition, (), 0, 0, ())
            chunk.fence(records)
            self.committer.deliver(chunk)

    def _past_fences(
        self, partition: Partition, messages: list[RawMessage], now: float
    ) -> list[RawMessage]:
        """What of a run may be handled; the rest follows its lane, or waits for its fence to end.

        It waits while there is room: with ever more that follow, the fence would never end. Not
        where the broker takes no maps: what ends the fence may wait for the message itself.
        """
        has_room = 2 * len(partition.lanes) <= self.pressure.share(len(self.partitions)).messages
        may_wait = has_room and not self.committer.mapless
        free, followers, held = self._moves.past_fences(partition, messages, may_wait=may_wait)
        for message in held:
            partition.lanes.postpone(message, now + HELD_FOR)
            self._wake_at = min(self._wake_at, now + HELD_FOR)
        if followers:
            self._follow(partition, followers)
        return free

    def _follow(self, partition: Partition, followers: Sequence[Follower]) -> None:
        messages = [follower.message for follower in followers]
        chunk = self.settlement.moved(partition, messages, [one.move for one in followers])
        partition.lanes.release(messages, len(messages))
        self.committer.deliver(chunk)

    # --- recovering ---

    @property
    def _is_blocked(self) -> bool:
        return self._recovery.resume_at is not None

    def _make_committer(self) -> AtLeastOnce | ExactlyOnce:
        settings, make = self.job.settings, self._clients.transactional
        careful = self.settlement.careful
        needs = Needs(
            self.consumer,
            self._clock,
            self.counts,
            self._laps,
            self._stored,
            self._finished,
            self.settlement.refused,
            careful,
            self._mapless,
        )
        if make is None:
            return AtLeastOnce(needs, self._clients.producer(alone=careful), settings.commit)
        return ExactlyOnce(needs, make(alone=careful), settings.transaction)

    def _next_committer(self) -> AtLeastOnce | ExactlyOnce:
        """One that takes over, unless nothing is to be written yet."""
        committer = self._make_committer()
        try:
            if self.partitions:
                committer.take_over()
        except ClientError:
            committer.close(0.0)
            raise
        return committer

    def _rewind(self, reason: str) -> None:
        log.error("%s: reads again from what is committed: %s", self.job.name, reason)
        self.committer.settle()
        self._pass_control_records()
        self._mapless |= self.committer.mapless
        self._trial.close()
        self.counts.rewinds += 1
        self.settlement.careful |= self.committer.outbox.learnt
        self._recall()
        for source, partition in list(self.partitions.items()):
            self._recovery.read_again(source, partition.tracker.position)
            start, kept = partition.tracker.committable, self.committer.kept(partition)
            successor = self._replace(partition, start, kept)
            successor.attempts, successor.flood = partition.attempts, partition.flood
        self.committer.close(0.0)
        if self.committer.passes:
            self._try_again()
        else:
            self._recovery.failed(reason, self._clock.monotonic())

    def _try_again(self) -> None:
        failed = self.committer
        try:
            self.committer = self._next_committer()
            self._go_on_from(self.committer.found(self.partitions.values()))
            self._take_over_fences(self.partitions.values())
        except WorkerError as error:
            self.committer.close(0.0)
            self.committer = failed
            self._recovery.failed(str(error), self._clock.monotonic())
        else:
            self._recovery.go_on()

    def _go_on_from(self, found: Mapping[Partition, Commit]) -> None:
        """Read partitions from what turns out to be committed."""
        for partition, commit in found.items():
            kept = envelope.decode(commit.metadata, commit.offset) or ()
            self._replace(partition, commit.offset, kept).committed = commit

    def _look_whether_through(self) -> None:
        committable = {source: p.tracker.committable for source, p in self.partitions.items()}
        if self._recovery.is_through(committable) and self._recovery.why is not None:
            self._note_delivered()

    def _go_back_to_batches(self) -> None:
        """Have a producer that sends batches take over from one that sends each record alone."""
        self.settlement.careful = False
        self._mapless |= self.committer.mapless
        try:
            committer = self._next_committer()
        except WorkerError as error:
            self.committer.outbox.failure = str(error)
        else:
            self.committer.close(0.0)
            self.committer = committer

    def _note_delivered(self) -> None:
        log.info("%s: records can be delivered again", self.job.name)
        self._recovery.succeeded()

    def _replace(self, partition: Partition, start: int, finished: Ranges = ()) -> Partition:
        self._forget_all(partition)
        end = partition.lanes.end if isinstance(partition.lanes, GatedLanes) else None
        if self._trial.let_go(partition):
            partition.note = crashes.without_try(partition.note)
        left = Inherited(start, partition.committed, finished, partition.note, end)
        successor = self._partition(partition.source, left)
        successor.paused, successor.ages = partition.paused, partition.ages
        self.partitions[partition.source] = successor
        self.consumer.seek(partition.source, start)
        return successor

    # --- after crashes ---

    def _note_of(self, commit: Commit | None) -> Note:
        if not self._pool.in_process:
            return Note()
        note = Note() if commit is None else envelope.note_of(commit.metadata, commit.offset)
        return note if self._draining else crashes.taken_over(note, self.job.floor.process)

    def _makes_way(self) -> bool:
        """Whether another pipeline of the process has to be alone; it is told when we are idle."""
        floor, idle = self.job.floor, not self._pool.outstanding
        return self._pool.in_process and not floor.may_work(self._pool, idle=idle)

    def _room(self, now: float) -> int:
        """How many messages may go to handlers; where messages are tried, the next one does."""
        room = self._rate.room(now)
        if self._breaker is not None and not self._breaker.room(now):
            if not self._pool.outstanding:
                self._trial.close()
            self._makes_way()
            return 0
        if room and (self._trial.watched or self.job.floor.turns) and not self._may_hand_out(now):
            return 0
        return room if self._breaker is None else min(room, self._breaker.room(now))

    def _may_hand_out(self, now: float) -> bool:
        """Whether runs may go to handlers; where messages are tried, the next one does."""
        self._trial.look()
        has_waited = self._trial.turn is not None
        attempt = self._trial.next(idle=not self._pool.outstanding)
        if attempt is not None:
            self._try(attempt, now)
        elif has_waited and self._trial.turn is None:  # what goes on beside others has a name now
            self.committer.commit_now(self.partitions.values(), wait=True)
        makes_way = self._makes_way()  # also while it waits for a turn of its own
        return self._trial.turn is None and not makes_way

    def _try(self, attempt: Attempt, now: float) -> None:
        partition, messages, how = attempt
        if how == "given up":
            self._settle_run(self.settlement.given_up(partition, messages))
            return
        way = self._moves.past_fences(partition, messages, may_wait=False)
        if way.followers:
            self._follow(partition, way.followers)
            return
        self.committer.commit_now(self._trial.partitions, wait=True)
        if way.held or self.committer.uncommitted([partition]):
            self._trial.take_back(attempt)
            return
        self._rate.take(len(messages), now)
        if self._breaker is not None:
            self._breaker.take(now)
        run = Run(partition, messages)
        partition.runs.add(run)
        (self._apart if how == "apart" else self._pool).submit(run)

    def _collect_apart(self) -> Sequence[Finished]:
        try:
            finished = self._apart.collect()
        except PipelineFailed as error:
            log.warning("%s: no process apart can be had: %s", self.job.name, error)
            self._trial.can_be_apart = False
            self._trial.apart.clear()
            finished = [Finished(run, ()) for run in self._apart.runs]
        if not self._trial.apart:
            self._close_apart()
        return finished

    def _close_apart(self) -> None:
        for run in self._apart.close():
            self._note_back(run)

    def _give_back(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            if partition.note.owner == self.job.floor.process:
                at_work = self._trial.let_go(partition)
                partition.note = crashes.given_back(partition.note, at_work=at_work)

    @property
    def _hurries(self) -> bool:
        """Whether only a commit is missing before the next message is tried alone."""
        at_work = self._pool.outstanding or self.committer.committing
        return self._trial.waits and not at_work

    # --- finishing and forgetting ---

    def _finish(
        self,
        partitions: Iterable[Partition],
        deadline: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self._recall()
        closing = list(partitions)
        for partition in closing:
            self.pressure.remove(partition.close(), 0)
        while (
            any(p.in_flight or self.committer.has(p) for p in closing if p.alive)
            and self.committer.failure is None
            and self._clock.monotonic() < deadline
        ):
            self._settle_finished(FULL_WAIT)
            self.committer.serve(0.0 if self._pool.outstanding else FULL_WAIT)
            meanwhile()

    def _recall(self) -> None:
        """Take back what no handler has begun with."""
        for run in self._pool.recall():
            self._note_back(run)
            run.partition.lanes.release(run.messages, 0)
            self._rate.give_back(len(run.messages))

    def _keep_membership(self) -> None:
        """Poll and commit as ever, although nothing is taken any more.

        Partitions may still be assigned, and their messages come: they are for the next owner.
        """
        self.consumer.poll(1, 0.0)
        self._commit()

    @property
    def _uncommitted(self) -> bool:
        return bool(self.committer.uncommitted(self.partitions.values()))

    def _commit_until(self, deadline: float) -> None:
        """Commit, be it late for once; a transaction that was refused is given up for another."""
        while self._uncommitted:
            if not self.committer.can_commit:
                if self._is_blocked or not self.committer.passes:
                    break
                self._rewind(self.committer.failure or "")
            if not self.committer.committing:
                self.committer.commit_now(self.partitions.values(), wait=False)
            self.consumer.poll(1, FULL_WAIT)
            if self._clock.monotonic() >= deadline:
                break

    def _drop(self, partitions: Iterable[TopicPartition]) -> None:
        for source in partitions:
            partition = self.partitions.pop(source, None)
            if partition is not None:
                self._forget_all(partition)
            self._recovery.forget(source)
        if not self.partitions:
            self._recovery.why = None

    def _forget_all(self, partition: Partition) -> None:
        partition.alive = False
        partition.closing = True
        runs = sorted(partition.runs, key=_first)
        self._late.setdefault(partition.source, {}).update(dict.fromkeys(runs))
        self.pressure.remove(partition.in_flight, partition.size)

    def _forget(self, partition: Partition, messages: int) -> None:
        self.pressure.remove(partition.forget(messages), 0)

    def _fail(self, reason: str) -> None:
        log.error("%s: %s", self.job.name, reason)
        self.failed = reason


def _first(run: Run) -> int:
    return run.messages[0].offset()


def _without(messages: Sequence[RawMessage], postponed: Sequence[Postponed]) -> list[RawMessage]:
    again = {one.message.offset() for one in postponed}
    return [message for message in messages if message.offset() not in again]
