"""One pipeline for as long as the process lives: runners one after the other, and its state."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from math import inf

from worker.engine.exactly import MARGIN
from worker.engine.job import Clients, Job
from worker.engine.overview import Overview
from worker.engine.partition import Run
from worker.engine.pool import Pool
from worker.engine.repairs import GivenUp
from worker.engine.runner import Late, Runner
from worker.errors import ClientFatal, Fenced, PipelineFailed, WorkerError
from worker.flow.backoff import backoff, failures_in_a_row
from worker.flow.counted import counted
from worker.flow.failures import FailureGroups
from worker.flow.health import (
    COMMITS_AFTER,
    JOIN_AFTER,
    STALLED_AFTER,
    Counts,
    Flow,
    Overrunning,
    PipelineState,
    PipelineStatus,
)
from worker.ports import AT_HAND, Clock, Consumer, Observer
from worker.settings import Pipeline

log = logging.getLogger(__name__)

PUBLISH_EVERY = 0.25
"""Seconds between two published states."""
REPORT_EVERY = 10.0
"""Seconds between two log lines about messages that have failed."""
KINDS_LOGGED = 20
"""Different reasons that are logged at a time."""
LONG = 10.0
"""Seconds that a handler may be at a message before it is named."""
GRACE = 1.0
"""Seconds beyond its `timeout` after which a handler is reported: cancelling takes a moment."""
RATE_OVER = 10.0
"""Seconds over which rates are measured."""
CUT_OFF_AFTER = 120.0
"""Seconds without the coordinator, while other brokers answer, after which a client is given up.

A group that has one gives a member up sooner; a coordinator that moves is found in seconds.
"""


class PipelineLoop:
    """The life of a pipeline, as steps that its pool's threads take.

    `start`, `stop`, `state`, `state_at` and `ended` are for any thread.
    """

    def __init__(
        self, job: Job, clients: Clients, pool: Pool, clock: Clock, observer: Observer
    ) -> None:
        self.job = job
        self.state = PipelineState(job.name, job.group, "starting", flow=flow_of(job))
        """The state as last published."""
        self.fenced = False
        """Whether another process has taken over this one's identity."""
        self.ended = False
        self.drained = True
        """Whether everything in flight was finished and committed when the pipeline ended."""
        self._clients = clients
        self._runner: Runner | None = None
        self.resume_at = -inf
        """When it is tried again to begin, after a failure; a step before that waits for it."""
        self._pool = pool
        self._clock = clock
        self._observer = observer
        self._counts = Counts()
        self._groups = FailureGroups()
        self._late: Late = {}
        self._given_up: GivenUp = {}
        self._stopping = threading.Event()
        self._failed: str | None = None
        self._last_error: str | None = None
        self._renewed: str | None = None
        self._joining_since: float | None = None
        self._cut_off_since: float | None = None
        self._publish_due = 0.0
        self._report_due = 0.0
        self._overrunning: set[tuple[str, int, int]] = set()
        """Messages whose handlers took too long when that was last looked at."""
        self._rates: deque[tuple[float, int, int]] = deque()
        self._overview = Overview(clients.log_ends, job.settings.isolation)

    def stop(self) -> None:
        """Ask the pipeline to drain and end."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping.is_set()

    @property
    def due(self) -> float:
        """When the next step has something to do, as `Runner.due`; for who takes the steps."""
        if self._stopping.is_set():
            return -inf
        return self.resume_at if self._runner is None else self._runner.due

    @property
    def held(self) -> int:
        """How many messages its partitions hold; for who takes the steps."""
        partitions = () if self._runner is None else self._runner.partitions.values()
        return sum(partition.in_flight for partition in partitions)

    @property
    def looks_at(self) -> float:
        """See `Runner`."""
        return inf if self._runner is None else self._runner.looks_at

    def state_at(self, now: float) -> PipelineState:
        """The state as far as it holds, for any thread: who publishes it may be held up."""
        return replace(self.state, silent_for=self._silent_for(now)).as_of(now)

    def start(self) -> None:
        """Run until stopped, or until the pipeline cannot go on."""
        self._pool.start(self._steps())

    def _steps(self) -> Iterator[None]:
        """Do what there is to do; whoever asks for the next step may handle runs meanwhile."""
        failures = 0
        try:
            while self._failed is None and not self._stopping.is_set():
                begun = self._clock.monotonic()
                if (yield from self._run_once()):
                    continue
                failures = failures_in_a_row(failures, self._clock.monotonic() - begun)
                self.resume_at = self._clock.monotonic() + backoff(failures)
                yield
                self._stopping.wait(self.resume_at - self._clock.monotonic())
        except GeneratorExit:  # nobody takes a further step
            raise
        except BaseException as error:
            log.exception("%s: a defect of the worker", self.job.name)
            self._failed = f"{type(error).__name__}: {error}"
        finally:
            self._publish("stopped" if self._failed is None else "failed", None)
            self._pool.close()
            self.ended = True

    def _run_once(self) -> Generator[None, None, bool]:
        """Join the group and work; whether that ended in good order."""
        AT_HAND.set((self.job.name, None))
        self._publish("joining", None)
        try:
            self._runner = runner = self._make_runner()
            yield from self._work(runner)
        except Fenced as error:
            self.fenced = True
            self._failed = f"another process has taken over this one's identity: {error}"
            log.error("%s: %s", self.job.name, self._failed)  # noqa: TRY400 - no defect of ours
        except PipelineFailed as error:
            self._failed = str(error)
            log.error("%s: %s", self.job.name, error)  # noqa: TRY400 - a message for users
        except WorkerError as error:
            self._last_error = self._renewed = str(error)
            self._joining_since = self._cut_off_since = None
            log.error("%s: starting again with new clients: %s", self.job.name, error)  # noqa: TRY400
            return False
        finally:
            joined, self._runner = self._runner, None
            if joined is not None:
                self._leave(joined)
        return True

    def _make_runner(self) -> Runner:
        return Runner(
            self.job,
            self._clients,
            self._pool,
            self._clock,
            self._observer,
            self._counts,
            self._groups,
            self._late,
            self._given_up,
        )

    def _work(self, runner: Runner) -> Iterator[None]:
        here = self.job.name, None
        while runner.failed is None and not self._stopping.is_set():
            AT_HAND.set(here)  # in whichever thread leads
            runner.step()
            self._publish_if_due("running", runner)
            yield
        self._publish("draining", runner)
        self.drained = False
        self.drained = runner.drain(lambda: self._publish_if_due("draining", runner))
        self._failed = runner.failed

    def _require_coordinator(self) -> None:
        since = self._cut_off_since
        if since is not None and self._clock.monotonic() - since > CUT_OFF_AFTER:
            raise ClientFatal(
                f"the coordinator of its group was not connected for {CUT_OFF_AFTER:.0f} s, "
                "while other brokers answered",
                retriable=True,
            )

    def _leave(self, runner: Runner) -> None:
        try:
            runner.close()
        except WorkerError as error:
            log.warning("%s: the clients did not close in order: %s", self.job.name, error)
        self._report_failures(runner)

    # --- what others see ---

    def _publish_if_due(self, status: PipelineStatus, runner: Runner) -> None:
        if self._clock.monotonic() >= self._publish_due:
            self._publish(status, runner)
            if status == "running":  # one that drains ends anyway
                self._require_coordinator()

    def _publish(self, status: PipelineStatus, runner: Runner | None) -> None:
        now = self._clock.monotonic()
        self._publish_due = now + PUBLISH_EVERY
        partitions = () if runner is None else runner.partitions
        self._clients.log_ends.want(self.job.name, partitions, self.job.settings.isolation)
        received_rate, produced_rate = (0.0, 0.0) if runner is None else self._measure(now)
        state = PipelineState(
            self.job.name,
            self.job.group,
            status,
            failed=self._failed,
            last_error=self._last_error,
            stepped=now,
            patience=patience_of(self.job.settings),
            timeout=self.job.settings.timeout,
            silent_for=self._silent_for(now),
            commit_patience=COMMITS_AFTER + self.job.settings.commits_within,
            join_patience=JOIN_AFTER * self.job.may_be_silent,
            renewed=self._renewed,
            received_rate=received_rate,
            produced_rate=produced_rate,
            counts=self._counts.copy(),
            flow=self.state.flow,
            failures=self._groups.latest_first(),
        )
        self.state = state if runner is None else self._with_runner(state, runner)

    def _silent_for(self, now: float) -> float | None:
        silent_since = self._clients.log_ends.silent_since
        return None if silent_since is None else max(0.0, now - silent_since)

    def _with_runner(self, state: PipelineState, runner: Runner) -> PipelineState:
        if state.stepped >= self._report_due:
            self._report_due = state.stepped + REPORT_EVERY
            self._report_failures(runner)
        consumer = runner.consumer
        self._last_error = runner.settlement.last_failure or consumer.last_error or self._last_error
        joined = self._joined(consumer)
        if joined:
            self._renewed = None
        self._note_cut_off(consumer, state)
        return replace(
            state,
            status="joining" if state.status == "running" and not joined else state.status,
            joined=joined,
            connected=consumer.connected,
            coordinated=consumer.coordinated,
            joining_for=self._joining_for(consumer, state.stepped, joined=joined),
            denied=consumer.denied,
            renewed=self._renewed,
            missing=tuple(consumer.missing),
            unmatched=tuple(consumer.unmatched),
            blocked=runner.blocked,
            hindered=self._pool.hindrance,
            breaker_open=None if self.job.breaker is None else self.job.breaker.why_open,
            overrunning=self._note_overrunning(runner, state.stepped),
            longest=longest(runner.runs, state.stepped, LONG),
            last_error=self._last_error,
            in_flight=runner.pressure.messages,
            in_flight_bytes=runner.pressure.bytes,
            partitions=self._overview.look(runner, state.stepped, self._clock.time()),
            clients={"consumer": consumer.totals(), "producer": runner.committer.totals()},
        )

    def _note_overrunning(self, runner: Runner, now: float) -> tuple[Overrunning, ...]:
        """The messages whose handlers take too long, with a warning of each that is new."""
        timeout = self.job.settings.timeout
        if timeout is None:
            return ()
        found = overrunning(runner.runs, now, timeout + GRACE)
        places = {(one.topic, one.partition, one.offset) for one in found}
        for topic, partition, offset in places - self._overrunning:
            log.warning(
                "%s: the handler takes longer than timeout: %gs, at %s[%d]@%d",
                self.job.name,
                timeout,
                topic,
                partition,
                offset,
                extra={"topic": topic, "partition": partition, "offset": offset},
            )
        self._overrunning = places
        return found

    def _joined(self, consumer: Consumer) -> bool:
        """Whether it is a member; a client joins no group while there is nothing to read."""
        return consumer.joined or len(consumer.unmatched) == len(self.job.topics)

    def _joining_for(self, consumer: Consumer, now: float, *, joined: bool) -> float | None:
        """Seconds for which joining has gone on with a coordinator that allows it."""
        joins = not joined and consumer.coordinated and consumer.denied is None
        self._joining_since = _since(self._joining_since, now, holds=joins)
        return None if self._joining_since is None else now - self._joining_since

    def _note_cut_off(self, consumer: Consumer, state: PipelineState) -> None:
        """Note since when brokers answer, but for the coordinator."""
        answered = consumer.connected and state.silent_for is None and consumer.denied is None
        cut_off = answered and not consumer.coordinated
        self._cut_off_since = _since(self._cut_off_since, state.stepped, holds=cut_off)

    def _measure(self, now: float) -> tuple[float, float]:
        rates, counts = self._rates, self._counts
        rates.append((now, counts.received, counts.produced))
        while now - rates[0][0] > RATE_OVER:
            rates.popleft()
        then, received, produced = rates[0]
        elapsed = now - then
        if not elapsed:
            return 0.0, 0.0
        return (counts.received - received) / elapsed, (counts.produced - produced) / elapsed

    def _report_failures(self, runner: Runner) -> None:
        failures, last = runner.settlement.failures, runner.settlement.last_failure
        for why, number in failures.most_common(KINDS_LOGGED):
            log.warning("%s: %s %s", self.job.name, counted(number), why)
        if failures:
            place = runner.settlement.last_place
            log.warning("%s: the last of them was %s", self.job.name, last, extra=place)
        failures.clear()


def _since(before: float | None, now: float, *, holds: bool) -> float | None:
    """Since when something holds that held since `before`; None where it does not."""
    if not holds:
        return None
    return now if before is None else before


def flow_of(job: Job) -> Flow:
    """Where the messages of a pipeline come from and go, as its settings say."""
    settings = job.settings
    return Flow(
        tuple(settings.source),
        job.handler,
        settings.to,
        () if settings.dead_letter is None else tuple(settings.dead_letter.topics),
        tuple(tier.topic for tier in job.tiers),
        settings.delivery,
    )


def patience_of(settings: Pipeline) -> float:
    """Seconds that a step may take: it waits for handlers in a rebalance, and for transactions.

    One that is not committed in time is aborted in the same step.
    """
    ending = settings.transaction.timeout + MARGIN if settings.delivery == "exactly_once" else 0.0
    return STALLED_AFTER + settings.revoke_timeout + 2 * ending


def longest(runs: Iterable[Run], now: float, seconds: float) -> Overrunning | None:
    """The message at which a handler has been for the longest, if for more than these seconds."""
    return next(iter(overrunning(runs, now, seconds)), None)


def overrunning(runs: Iterable[Run], now: float, longest: float) -> tuple[Overrunning, ...]:
    """Messages at which handlers have been for more than `longest` seconds, the longest first.

    A run comes back after a moment unless a handler keeps it, so the time is that of the run.
    """
    found = (_at_hand(run, now) for run in runs)
    late = [one for one in found if one is not None and one.seconds > longest]
    return tuple(sorted(late, key=_seconds, reverse=True))


def _seconds(one: Overrunning) -> float:
    return one.seconds


def _at_hand(run: Run, now: float) -> Overrunning | None:
    """Where a run is; None while no handler has it."""
    at_hand = run.at_hand()
    if at_hand is None:
        return None
    source, offset = run.partition.source, run.messages[at_hand.place].offset()
    return Overrunning(source.topic, source.partition, offset, now - at_hand.since)
