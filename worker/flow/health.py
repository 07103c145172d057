"""The worker's state as one value, and the judgement of it: live, ready, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from math import inf
from typing import Any, Final, Literal

from worker.flow.failures import FailureGroup
from worker.flow.stuck import Progress
from worker.flow.timing import Histogram, stages
from worker.settings.topics import is_retry_topic
from worker.types import ClientTotals

PipelineStatus = Literal["starting", "joining", "running", "draining", "stopped", "failed"]

PauseCause = Literal["full", "held", "not_due", "blocked"]
"""The pipeline holds as much as it may, the partition does, nothing of it is due yet, or nothing is
handled at the moment."""
PAUSE_CAUSES: Final[tuple[PauseCause, ...]] = ("full", "held", "not_due", "blocked")

Hindrance = tuple[str, bool, str]
"""The code of a reason, whether it holds, and its text."""

STALLED_AFTER = 60.0
"""Seconds without a step, beside those of a rebalance, after which only a restart helps."""
SILENT_AFTER = 10.0
"""Seconds for which no broker may answer."""
COMMITS_AFTER = 60.0
"""Seconds, beside the interval of commits, for which what is finished may stay uncommitted."""
HELD_UP_AFTER = 10.0
"""Seconds without a step after which what is known of a pipeline is of no use any more."""
HANGS_AFTER = 300.0
"""Seconds that a handler may take beyond its `timeout`, or keep the asyncio loop to itself."""
SLOW_AFTER = 60.0
"""Seconds that a handler may be at a message while others of its partition wait, without a word."""
BLOCKED_AFTER = 5.0
"""Seconds for which a handler may keep the asyncio loop to itself without a word."""
JOIN_AFTER = 2.0
"""Times that a member may be silent, which joining may take: a group waits for nobody longer."""


@dataclass(slots=True)
class Counts:
    """What a pipeline has done since its start; plain numbers that one thread writes."""

    received: int = 0
    """Messages taken from the consumer, those that come again included."""
    received_bytes: int = 0
    passed_over: int = 0
    """Messages taken again that an earlier owner of their partition had finished."""
    handled: int = 0
    """Messages whose handler succeeded."""
    filtered: int = 0
    """Handled messages without a result."""
    produced: int = 0
    """Results acknowledged by all in-sync replicas."""
    dead_lettered: dict[str, int] = field(default_factory=dict)
    """Acknowledged dead letters by reason."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Messages given up under `on_error: skip`, by reason."""
    retried: int = 0
    """Failed attempts after which a message was to be tried again in place."""
    moved: int = 0
    """Messages that went to a retry topic, those included that follow others of their lane."""
    followed: int = 0
    """Of these, those that follow others."""
    dropped: int = 0
    """Outcomes that came after their partition had gone; their effects happen again elsewhere."""
    delivery_failures: int = 0
    rewinds: int = 0
    """Times that partitions were read again from the committable offset after a failed delivery."""
    commits: int = 0
    commit_failures: int = 0
    rebalances: int = 0
    """Those in which partitions came or went: see `flow.rebalances`."""
    lost_offsets: int = 0
    """Messages that were gone from the log before they could be read."""
    repairs: dict[str, int] = field(default_factory=dict)
    """What was done about partitions that had messages and did not get on, by `stuck.Repair`."""
    aborts: int = 0
    """Transactions that were given up."""
    handling: Histogram = field(default_factory=Histogram)
    """How long messages were with handlers, decoding and encoding included."""
    latency: Histogram = field(default_factory=Histogram)
    """How old messages were, by their timestamps, when all that has come of them was durable."""
    rebalancing: Histogram = field(default_factory=Histogram)
    """How long rebalances kept the pipeline from its work."""
    transactions: Histogram = field(default_factory=Histogram)
    """How long those were open that were committed."""
    stages: dict[str, float] = field(default_factory=stages)
    """Where the time of the loop has gone, in seconds: see `flow.timing`."""

    def copy(self) -> Counts:
        """The same numbers, which do not change any more."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        copies: dict[str, Any] = {
            name: one.copy() for name, one in values.items() if isinstance(one, dict | Histogram)
        }
        return replace(self, **copies)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One assigned partition; offsets name the next message, None is not known."""

    topic: str
    partition: int
    position: int
    """The next message to be taken from the consumer."""
    committable: int
    committed: int | None
    end: int | None
    in_flight: int
    paused: bool
    held_by: int | None = None
    """The message at hand, or else its first unfinished one, behind which so much waits or is
    finished that no more is taken from it; None while it is read."""
    at_hand: int | None = None
    """The message that a handler is at in the run with its first unfinished one; None if none is.

    It is a later one where that is handled: a run comes back when its handler does.
    """
    at_hand_for: float = 0.0
    """Seconds for which the handler has been at it."""
    starts: int = 0
    """Starts in a row after a crash, until it gets on; from 2 on messages are tried alone."""
    suspect: int | None = None
    """The message that may have ended the worker, and is tried alone."""

    due_in: float | None = None
    """Seconds until the next message of a retry topic is due; None where none waits for a time."""
    fenced: int = 0
    """Lanes whose messages go to a retry topic, since an earlier one of theirs is there."""
    flooded: bool = False
    """Whether its messages are tried one at a time, since too many fail."""
    progress: Progress = "moves"
    """Whether it gets on when it has messages and is to be read, and what became of repairs."""
    uncommitted_for: float | None = None
    """Seconds for which what is finished waits to be committed; None when nothing does."""
    paused_by: PauseCause | None = None
    """Why it is paused."""
    waiting: int = 0
    """Messages that wait for a handler, or for an earlier one of their lane."""
    ready: int = 0
    """Of these, those that may go to a handler now."""
    at_work: int = 0
    """Runs that are with handlers: as many lanes, with `ordering: key`."""
    behind: float | None = None
    """Seconds since the first message that is not finished was written; 0 where all are."""
    commit_age: float = 0.0
    """Seconds since the committed offset has moved; 0 while there is nothing behind it."""

    @property
    def lag(self) -> int | None:
        """Messages between the committable offset and the end; None when the end is unknown."""
        return None if self.end is None else max(0, self.end - self.committable)


@dataclass(frozen=True, slots=True)
class Overrunning:
    """A message, the first one of a batch, whose handler takes long."""

    topic: str
    partition: int
    offset: int
    seconds: float
    """How long it has taken so far."""

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset} for {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a pipeline's messages come from, who handles them, and where results go."""

    sources: tuple[str, ...] = ()
    """Topics and patterns of `from`."""
    handler: str = ""
    target: str | None = None
    """The topic of results that name none."""
    dead_letters: tuple[str, ...] = ()
    retries: tuple[str, ...] = ()
    """Its retry topics, the one with the shortest wait first."""
    delivery: str = "at_least_once"


@dataclass(frozen=True, slots=True)
class PipelineState:
    """One pipeline as its runner last published it."""

    name: str
    group: str
    status: PipelineStatus
    joined: bool = False
    """Whether the group has this member, be it without partitions, or there is nothing to read."""
    connected: bool = False
    """Whether at least one broker is connected."""
    coordinated: bool = True
    """Whether the group's coordinator is connected."""
    silent_for: float | None = None
    """Seconds for which no broker has answered the question where logs end; None when one did."""
    commit_patience: float = inf
    """Seconds for which what is finished may wait to be committed."""
    joining_for: float | None = None
    """Seconds for which joining has gone on with a coordinator that allows it."""
    join_patience: float = inf
    """Seconds that this may take."""
    denied: str | None = None
    """What the cluster does not let this user do."""
    renewed: str | None = None
    """Why its clients were given up, until new ones have joined the group."""
    missing: tuple[str, ...] = ()
    """Topics to read that do not exist."""
    unmatched: tuple[str, ...] = ()
    """Patterns of topics that match none so far; they may at any time."""
    blocked: str | None = None
    """Why results or dead letters cannot be delivered at the moment."""
    hindered: str | None = None
    """Why no message can be handled at the moment."""
    breaker_open: str | None = None
    """Why none is handed to a handler: its breaker is open."""
    timeout: float | None = None
    """Seconds that a handler may take."""
    overrunning: tuple[Overrunning, ...] = ()
    """Messages whose handlers take longer, the longest first."""
    longest: Overrunning | None = None
    """The message that a handler has been at for the longest, if for long; be there a `timeout`."""
    failed: str | None = None
    """Why the pipeline has stopped for good."""
    last_error: str | None = None
    stepped: float = 0.0
    """When the runner last stepped, on the monotonic clock."""
    patience: float = STALLED_AFTER
    """Seconds that a step may take: it may wait for handlers in a rebalance."""
    in_flight: int = 0
    in_flight_bytes: int = 0
    received_rate: float = 0.0
    """Messages per second over the last ten seconds."""
    produced_rate: float = 0.0
    counts: Counts = field(default_factory=Counts)
    partitions: tuple[PartitionState, ...] = ()
    clients: Mapping[str, ClientTotals] = field(default_factory=dict)
    flow: Flow = Flow()
    failures: tuple[FailureGroup, ...] = ()
    """What failed lately by kind, the latest first."""

    @property
    def lag(self) -> int | None:
        """Messages behind the ends of the assigned partitions.

        None where it is not known: of an end, or since the group has not let this member in, which
        then has no partitions, whoever is to handle what waits.
        """
        found = [partition.lag for partition in self.partitions]
        known = [lag for lag in found if lag is not None]
        return sum(known) if self.joined and len(known) == len(found) else None

    def as_of(self, now: float) -> PipelineState:
        """The state without what does not hold any more, if it is from too long ago.

        These are rates, where logs end, and connections of which no broker has answered since.
        """
        if now - self.stepped <= HELD_UP_AFTER:
            return self
        return replace(
            self,
            received_rate=0.0,
            produced_rate=0.0,
            connected=self.connected and self.silent_for is None,
            partitions=tuple(replace(one, end=None, behind=None) for one in self.partitions),
        )

    @property
    def behind(self) -> float | None:
        """The longest that any of its partitions is behind; None where that is not known."""
        known = [one.behind for one in self.partitions if one.behind is not None]
        return max(known, default=None)

    @property
    def waiting(self) -> int:
        """Of these messages, those in retry topics."""
        return sum(p.lag or 0 for p in self.partitions if is_retry_topic(p.topic))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The worker at one moment."""

    name: str
    version: str
    started: float
    """Seconds since 1970."""
    now: float
    """The monotonic clock at the moment of the snapshot."""
    starting: str | None = None
    """What the worker waits for before its pipelines start."""
    draining: bool = False
    broken: str | None = None
    """What only a restart helps against."""
    loop_blocked_for: float = 0.0
    """Seconds for which a handler has kept the asyncio loop to itself, and every other waits."""
    pipelines: tuple[PipelineState, ...] = ()
    """With several processes the totals of all: see `flow.totals`."""
    processes: tuple[ProcessState, ...] = ()
    """The processes of a supervisor; none where the worker is one process."""
    time: float | None = None
    """The same moment in seconds since 1970."""
    shut_out: bool = False
    """Whether it cannot start since the brokers do not let its user in."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of several, as its supervisor knows it."""

    index: int
    pid: int | None = None
    """None while it does not run."""
    restarts: int = 0
    ended: str | None = None
    """How it ended and what becomes of it, while it does not run."""
    snapshot: Snapshot | None = None
    """What it last told of itself."""
    earlier: Mapping[str, PipelineState] = field(default_factory=dict)
    """Totals, by pipeline, of the processes and clients that it has replaced."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a worker is not ready; docs/health.md lists the codes."""

    code: str
    text: str
    """The same for people, beginning with the process and the pipeline if it is of one."""
    pipeline: str | None = None
    """Which one it is of, if of one."""


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict: not `live` means that a restart would help, which `hopeless` gives reasons for.

    `reasons` says why not ready, those of `hopeless` first.
    """

    reasons: tuple[Reason, ...]
    hopeless: tuple[Reason, ...] = ()

    @property
    def live(self) -> bool:
        """Whether a restart would not help."""
        return not self.hopeless

    @property
    def ready(self) -> bool:
        """Whether all pipelines do their work, or can as soon as there is some."""
        return not self.reasons


def judge(snapshot: Snapshot) -> Health:
    """Judge a snapshot; the reasons name the pipeline and what is wrong with it."""
    return _judge_processes(snapshot) if snapshot.processes else _judge_one(snapshot)


def _judge_processes(snapshot: Snapshot) -> Health:
    """All must be well; a process that has ended is its supervisor's to start again."""
    reasons = [Reason("draining", "draining")] if snapshot.draining else []
    hopeless: list[Reason] = []
    for process in snapshot.processes:
        name = f"process {process.index}"
        if process.snapshot is None:
            code = "process_starting" if process.ended is None else "process_ended"
            reasons.append(Reason(code, f"{name}: {process.ended or 'starting'}"))
            continue
        health = _judge_one(replace(process.snapshot, now=snapshot.now))
        reasons += [_of_process(name, reason) for reason in health.reasons]
        hopeless += [_of_process(name, reason) for reason in health.hopeless]
    return Health(tuple(reasons), tuple(hopeless))


def _judge_one(snapshot: Snapshot) -> Health:
    hopeless = [] if snapshot.broken is None else [Reason("broken", snapshot.broken)]
    if snapshot.loop_blocked_for > HANGS_AFTER:
        hopeless.append(_blocked(snapshot))
    for pipeline in snapshot.pipelines:
        hopeless += [_of_pipeline(pipeline.name, one) for one in _hopeless(pipeline, snapshot.now)]
    reasons = list(hopeless)
    if snapshot.starting is not None:
        code = "denied" if snapshot.shut_out else "starting"
        reasons.append(Reason(code, snapshot.starting))
    if snapshot.draining:
        reasons.append(Reason("draining", "draining"))
    if BLOCKED_AFTER < snapshot.loop_blocked_for <= HANGS_AFTER:
        reasons.append(_blocked(snapshot))
    for pipeline in snapshot.pipelines:
        reason = _why_not_ready(pipeline, snapshot.now)
        if reason is not None:
            reasons.append(_of_pipeline(pipeline.name, reason))
    return Health(tuple(reasons), tuple(hopeless))


def severity(pipeline: PipelineState, reasons: Iterable[Reason]) -> int:
    """How bad it is with a pipeline, by the reasons that are its own.

    4 when it has stopped for good, 3 when something is in the way of its work, 2 when it does not
    run yet or any more, 1 when a message holds a partition or takes long while others wait, else 0.
    """
    found = [_SEVERITIES.get(reason.code, 3) for reason in reasons]
    return max(found, default=int(any(map(_is_held, pipeline.partitions))))


def _is_held(partition: PartitionState) -> bool:
    """Whether a message keeps its partition, or takes long while others of it wait."""
    waits_long = partition.waiting > 0 and partition.at_hand_for > SLOW_AFTER
    return waits_long or partition.held_by is not None or partition.suspect is not None


_SEVERITIES: Final = {"failed": 4, "starting": 2, "draining": 2, "stopped": 2, "not_joined": 2}


def _of_pipeline(name: str, reason: Reason) -> Reason:
    return Reason(reason.code, f"{name}: {reason.text}", name)


def _of_process(name: str, reason: Reason) -> Reason:
    return replace(reason, text=f"{name}: {reason.text}")


def _blocked(snapshot: Snapshot) -> Reason:
    seconds = f"{snapshot.loop_blocked_for:.0f} s"
    return Reason("loop_blocked", f"a handler has kept the asyncio loop to itself for {seconds}")


def _hopeless(pipeline: PipelineState, now: float) -> Iterator[Reason]:
    """What a new process may get over, and this one does not."""
    if pipeline.status not in ("joining", "running"):
        return
    if now - pipeline.stepped > pipeline.patience:
        yield Reason("no_step", f"no step for {now - pipeline.stepped:.0f} s")
    if (pipeline.joining_for or 0.0) > pipeline.join_patience:
        yield Reason("join_stands", f"has been joining its group for {pipeline.joining_for:.0f} s")
    for message in pipeline.overrunning[:1]:
        if message.seconds > (pipeline.timeout or 0.0) + HANGS_AFTER:
            yield Reason("handler_hangs", f"its handler has been at {message}")
    for one in pipeline.partitions:
        if one.progress == "hopeless":
            yield Reason("partition_hopeless", f"{_standing(one)} helps")


def _why_not_ready(pipeline: PipelineState, now: float) -> Reason | None:
    """The first that holds of all that can keep a pipeline from its work."""
    hindrances = chain(_of_clients(pipeline, now), _of_handling(pipeline), _of_membership(pipeline))
    return next((Reason(code, text) for code, holds, text in hindrances if holds), None)


def _of_clients(pipeline: PipelineState, now: float) -> Iterator[Hindrance]:
    silent, topics = pipeline.silent_for or 0.0, ", ".join(pipeline.missing)
    still = now - pipeline.stepped
    held_up = f"has waited for {still:.0f} s for brokers, or for handlers in a rebalance"
    stands = pipeline.status in ("starting", "stopped", "draining")
    yield "failed", pipeline.failed is not None, f"stopped: {pipeline.failed}"
    yield pipeline.status, stands, pipeline.status
    yield "denied", pipeline.denied is not None, f"is not allowed: {pipeline.denied}"
    yield "renewed", pipeline.renewed is not None, f"has given its clients up: {pipeline.renewed}"
    yield "held_up", still > HELD_UP_AFTER, held_up
    yield "no_broker", not pipeline.connected, "no broker is connected"
    yield "no_answer", silent > SILENT_AFTER, f"no broker has answered for {silent:.0f} s"
    yield "no_topic", bool(pipeline.missing), f"topics to read do not exist: {topics}"


def _of_handling(pipeline: PipelineState) -> Iterator[Hindrance]:
    yield "cannot_deliver", pipeline.blocked is not None, f"cannot deliver: {pipeline.blocked}"
    yield "cannot_handle", pipeline.hindered is not None, f"cannot handle: {pipeline.hindered}"
    yield "breaker_open", pipeline.breaker_open is not None, str(pipeline.breaker_open)
    for one in pipeline.partitions:
        yield "flooded", one.flooded, f"{_place(one)} is flooded: too many of its messages fail"
    for message in pipeline.overrunning[:1]:
        allowed = f"timeout: {pipeline.timeout or 0:g}s"
        yield "overrunning", True, f"its handler has been at {message}, longer than {allowed}"


def _of_membership(pipeline: PipelineState) -> Iterator[Hindrance]:
    away = "the coordinator of its group is not connected"
    yield "no_coordinator", not pipeline.coordinated, away
    yield "not_joined", not pipeline.joined, "is no member of its group, not yet or no longer"
    for one in pipeline.partitions:
        yield "partition_stuck", one.progress == "stuck", f"{_standing(one)} has helped"
    for one in pipeline.partitions:
        late = one.uncommitted_for or 0.0
        text = f"{_place(one)} was not committed for {late:.0f} s"
        yield "not_committed", late > pipeline.commit_patience, text


def _standing(partition: PartitionState) -> str:
    return f"{_place(partition)} has messages and stands at {partition.position}, and nothing"


def _place(partition: PartitionState) -> str:
    return f"{partition.topic}[{partition.partition}]"
