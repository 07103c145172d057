"""All pipelines of a spec on the memory broker, stepped in one thread, in virtual time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from worker.app import Options, dead_letter_topics, load
from worker.errors import BrokersUnreachable, WorkerError
from worker.flow.counted import counted
from worker.flow.later import history_of
from worker.flow.letters import Letter, read
from worker.serdes import SERDES
from worker.settings import refusals
from worker.settings.patterns import reads
from worker.settings.simulation import Call, ClientCall
from worker.spec import Document
from worker.spec.topics import topics_of
from worker.testing.clock import VirtualClock, require_passing
from worker.testing.faults import At, Fault, Faults, Moment
from worker.testing.matching import readings
from worker.testing.memory.broker import MemoryBroker
from worker.testing.memory.cluster import nothing
from worker.testing.memory.group import Group, Member
from worker.testing.pool import Seconds
from worker.testing.process import Process, Stepped
from worker.testing.replacing import with_resources
from worker.types import Encoded, Headers, Message, TopicPartition

TICK: Final = 0.005
"""Seconds that pass while a pipeline waits for something of its own process."""
START_AGAIN_AFTER: Final = 1.0
"""Seconds after which a process starts again that found no broker."""
PATIENCE: Final = 7_200.0
"""Seconds after which what is not finished never will be, beside the waits of retry topics."""

TURNS: Final = 10_000
TURNS_OF_A_MESSAGE: Final = 100
"""Turns at one moment, and more for each message that there is, after which it never ends."""

ANY: Final = At()
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class NotFinished(WorkerError):
    """There was something to do for longer than it was to take."""


class Origin(NamedTuple):
    """A pipeline, and where it has read a message first."""

    pipeline: str
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset} in {self.pipeline}"


class Attempt(NamedTuple):
    """A call of a handler for a message."""

    pipeline: str
    message: Message
    at: float
    """When, on the monotonic clock."""

    @property
    def origin(self) -> Origin:
        """What all attempts of a pipeline for the same message have in common."""
        history = history_of(self.message)
        return Origin(self.pipeline, history.topic, history.partition, history.offset)


Error = BaseException | type[BaseException]
Event = Callable[[Process, str, Message], object]
"""Something that happens to a process while one of its pipelines, of this name, is at a message."""
OnCall = Callable[[Process, str, Call, Sequence[Message]], object]
"""What is told of each call before it is made: whose, of which pipeline, and of a handler's the
messages."""


class Driver:
    """The pipelines of a spec, with their handlers, and a cluster that has their topics.

    They make progress in `run` and `advance` only. Time is virtual: where nothing is left to do it
    goes to the moment at which there is, so a retry of ten minutes takes none. What goes on and on
    without that raises `NotFinished`, as two pipelines that feed each other. What goes wrong is
    told before: `fail`, `refuse`, `revoke`, `lose` and `kill`, each for records at a place.

    A context manager: what is in flight at the end of the block is dropped. Raises
    `BadConfiguration` and `ResourceFailed`.
    """

    def __init__(
        self,
        document: Document,
        options: Options | None = None,
        *,
        resources: Mapping[str, Any] = NOTHING,
        processes: int = 1,
        seconds: Seconds = lambda _run: 0.0,
    ) -> None:
        self.spec = document.spec
        self.clock = VirtualClock()
        self.broker = MemoryBroker(self.clock)
        self.processes: list[Process] = []
        """Those that live."""
        self.attempts: list[Attempt] = []
        """Every call of a handler, in order; of a batch each message."""
        self.faults: list[Fault[Any]] = []
        """What was told to go wrong, in order, each with how often it has."""
        self._document = document
        options = options or Options(draw=lambda: 0.0)
        self._options = replace(options, registry=with_resources(options.registry, resources))
        self._seconds = seconds
        self._started = 0
        self._errors: Faults[Error] = Faults()
        self._refusals: Faults[str] = Faults()
        self._before: Faults[Event] = Faults()
        self._handled: Faults[Event] = Faults()
        self._ending: set[tuple[Process, str]] = set()
        """Processes that end when a pipeline of them commits."""
        self._still: list[Process] = []
        """Those that do nothing for a while."""
        self._stops = 0
        """How often all were told to stop: whoever was to start before then does not."""
        self.on_call: OnCall = nothing
        """What a test has happen first at each call."""
        self.broker.why_refused = self._refusals.strike_record
        for _ in range(processes):
            self.start()
        self._take_turns()

    @classmethod
    def of(
        cls,
        spec: Path | str,
        *,
        resources: Mapping[str, Any] = NOTHING,
        environ: Mapping[str, str] = os.environ,
        path: Sequence[str] = (),
    ) -> Self:
        """Load a spec and its handlers; those of `path` are found, too, as by `worker run --path`.

        `resources` replaces some: each is what handlers are given, or a generator function that
        yields it. Waits before a further attempt are not cut by chance.
        """
        options = Options(path=path, draw=lambda: 0.0)
        return cls(load(Path(spec), environ, options), options, resources=resources)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what happens ---

    def send(
        self,
        topic: str,
        value: Any,
        key: bytes | str | None = None,
        *,
        headers: Headers = (),
        partition: int | None = None,
        timestamp: int | None = None,
    ) -> Self:
        """Write a record; a value that is no bytes is encoded as pipelines that read it decode it.

        It is no earlier then than its timestamp says. A topic that a pattern of the spec matches is
        made. Raises `LookupError` for others.
        """
        known = key.encode() if isinstance(key, str) else key
        payload = self._encoded(topic, value)
        return self.write(Encoded(topic, payload, known, headers, partition, timestamp))

    def write(self, record: Encoded) -> Self:
        """Write a record as it is; raises `LookupError` as `send`."""
        self._require(record.topic)
        if record.timestamp is not None:
            self.clock.reach(record.timestamp / 1000)
        self.broker.append(
            record.topic,
            record.value,
            record.key,
            headers=record.headers,
            partition=record.partition,
            timestamp=record.timestamp,
        )
        return self

    def send_all(self, messages: Iterable[Message]) -> Self:
        """Write messages as they were, each to its topic, such as those of a captured file.

        A message of a partition that the topic does not have lies where its key says.
        """
        for one in messages:
            self._require(one.topic)
            has_partition = one.partition < len(self.broker.topics[one.topic].logs)
            self.send(
                one.topic,
                one.value,
                one.key,
                headers=one.headers,
                partition=one.partition if has_partition else None,
                timestamp=one.timestamp,
            )
        return self

    def run(self, within: float | None = None) -> Self:
        """Go on until nothing is left to do; raises `NotFinished` after so many seconds.

        By default after two hours and the waits of all retry topics.
        """
        within = self._longest if within is None else within
        deadline = self.clock.monotonic() + within
        while (due := self._take_turns()) < inf:
            if due > deadline:
                raise NotFinished(f"not finished after {within:g}s; {self._what_is_left()}")
            self._go_to(due)
        return self

    def advance(self, seconds: float) -> Self:
        """Let so much time pass, and what is due meanwhile be done."""
        require_passing(seconds)
        end = self.clock.monotonic() + seconds
        while (due := self._take_turns()) <= end:
            self._go_to(due)
        self._go_to(end)
        self._take_turns()
        return self

    def start(self) -> None:
        """Start one more process; it tries again later where no broker answers."""
        self._started += 1
        try:
            process = Context().run(  # whatever pipeline is at hand here
                Process,
                self._document,
                self._options,
                self.broker,
                self.clock,
                self._seconds,
                self,
                f"process-{self._started}",
            )
        except BrokersUnreachable:
            again = partial(self._start_unless_stopped, self._stops)
            self.clock.at(self.clock.monotonic() + START_AGAIN_AFTER, again)
        else:
            self.processes.append(process)

    def stop(self) -> Self:
        """Have all processes drain and end; of those that were killed none is replaced any more."""
        self._stops += 1
        for process in self.processes:
            process.stop()
        due = self._take_turns()
        while not all(process.ended for process in self.processes):
            self._go_to(due)
            due = self._take_turns()
        self.close()
        return self

    def close(self) -> None:
        """End all processes; what is in flight is dropped."""
        self._stops += 1
        for process in self.processes:
            process.close()
        self.processes.clear()

    # --- what goes wrong ---

    def fail(self, error: Error, at: At = ANY, times: int = 1) -> Self:
        """Let the handler raise when it is given such a record."""
        self.faults.append(self._errors.add(error, at, times))
        return self

    def refuse(self, error: str, at: At = ANY, times: int = 1) -> Self:
        """Let the brokers refuse such a record when it is written, with one of Kafka's errors.

        Raises `ValueError` for a name that none of them has.
        """
        wrong = refusals.unknown(error)
        if wrong is not None:
            raise ValueError(wrong)
        self.faults.append(self._refusals.add(error, at, times))
        return self

    def revoke(self, at: At = ANY, times: int = 1, *, seconds: float = 1.0) -> Self:
        """Let the group take a partition away while such a record of it is handled, for so long."""

        def take_away(_process: Process, pipeline: str, message: Message) -> None:
            self.revoke_now(pipeline, message.source, seconds)

        self.faults.append(self._before.add(take_away, at, times))
        return self

    def revoke_now(self, pipeline: str, partition: TopicPartition, seconds: float) -> None:
        """Let the group of a pipeline take a partition away, for so long."""
        group = self.broker.group(self.spec.group(pipeline))
        with self.broker.lock:
            group.reassign(partition, Member(()))
            self.broker.changed()
        self.clock.at(self.clock.monotonic() + seconds, partial(self._give_back, group))

    def lose(self, at: At = ANY, times: int = 1) -> Self:
        """Let the group take the member for dead that has such a record at hand; it joins anew."""

        def expire(process: Process, pipeline: str, _message: Message) -> None:
            member = process.clients.members[self.spec.group(pipeline)]
            if member.is_member:
                member.expire()

        self.faults.append(self._before.add(expire, at, times))
        return self

    def kill(self, at: At = ANY, times: int = 1, *, moment: Moment = "sent") -> Self:
        """Let the process end without a word at such a record.

        Another one starts when the session of its members is over. A record that ends processes is
        tried in one apart at last, which ends without the worker.
        """

        def end_later(process: Process, pipeline: str, _message: Message) -> None:
            self._ending.add((process, pipeline))

        def end(process: Process, _pipeline: str, _message: Message) -> None:
            if not process.end_apart():
                self.kill_now(process)

        place = self._before if moment == "before" else self._handled
        self.faults.append(place.add(end_later if moment == "sent" else end, at, times))
        return self

    def kill_now(self, process: Process) -> None:
        """End a process without a word; another one starts when its members' sessions are over.

        None does in place of one that was told to stop.
        """
        if process.alive:
            process.kill()
            follow = partial(self._follow, process, self._stops)
            self.clock.at(self.clock.monotonic() + self._session, follow)

    def stand_still(self, process: Process, seconds: float) -> None:
        """Let a process do nothing for so long, wherever it is, while all others go on.

        The group takes it for dead when that is longer than its session.
        """
        if seconds > self._session:
            self.clock.at(self.clock.monotonic() + self._session, process.clients.expire)
        self._still.append(process)
        copy_context().run(self.advance, seconds)  # others have other pipelines at hand
        self._still.remove(process)

    # --- what has come of it ---

    def topic(self, name: str) -> list[Message]:
        """The records of a topic, by partition and offset; none where it was not made.

        Raises `LookupError` for one that neither the spec nor the broker knows.
        """
        if name in self.broker.topics:
            return self.broker.records(name)
        if name not in topics_of(self.spec):
            self._require_pattern(name)
        return []

    def values(self, name: str) -> list[Any]:
        """Their payloads, as values where they are JSON, else as text; raises as `topic`."""
        return [next(readings(message.value)) for message in self.topic(name)]

    @property
    def dead_letters(self) -> list[Letter]:
        """The dead letters of all pipelines, with why they are."""
        topics = [name for name in dead_letter_topics(self.spec) if name in self.broker.topics]
        return [read(message) for name in topics for message in self.topic(name)]

    @property
    def committed(self) -> dict[str, dict[TopicPartition, int]]:
        """By pipeline what its group has committed: the next offsets to be handled."""
        return {name: self.broker.committed(self.spec.group(name)) for name in self.spec.pipelines}

    @property
    def failed(self) -> dict[str, str]:
        """The pipelines that cannot go on, and why."""
        states = [one.loop.state for one in self._pipelines]
        return {state.name: state.failed for state in states if state.failed is not None}

    def retries(self, at: At = ANY) -> dict[Origin, list[float]]:
        """Of each message that handlers were given, the seconds between its attempts."""
        times: dict[Origin, list[float]] = {}
        for attempt in self.attempts:
            if at.holds(attempt.message):
                times.setdefault(attempt.origin, []).append(attempt.at)
        return {
            origin: [after - before for before, after in pairwise(moments)]
            for origin, moments in times.items()
        }

    # --- what `Story` tells ---

    def before(self, process: Process, pipeline: str, call: ClientCall) -> None:
        """See `Story`."""
        self.on_call(process, pipeline, call, ())
        if call == "commit" and (process, pipeline) in self._ending:
            self.kill_now(process)

    def begins(self, process: Process, pipeline: str, messages: Sequence[Message]) -> None:
        """See `Story`."""
        self.on_call(process, pipeline, "handle", messages)
        now = self.clock.monotonic()
        self.attempts += [Attempt(pipeline, message, now) for message in messages]
        for event, message in self._before.strike(messages):
            event(process, pipeline, message)
        for error, _ in self._errors.strike(messages):
            raise error.with_traceback(None) if isinstance(error, BaseException) else error

    def ends(self, process: Process, pipeline: str, messages: Sequence[Message]) -> None:
        """See `Story`."""
        self.on_call(process, pipeline, "handled", messages)
        for event, message in self._handled.strike(messages):
            event(process, pipeline, message)

    # --- steps ---

    @property
    def _pipelines(self) -> list[Stepped]:
        return [one for process in self.processes for one in process.pipelines]

    def _take_turns(self) -> float:
        """Step pipelines until that changes nothing; returns when there is more to do."""
        left = TURNS + TURNS_OF_A_MESSAGE * self.broker.written
        while any(one.is_ready for one in self._moving):
            left -= 1
            if left < 0:
                raise NotFinished(f"it goes on and on while no time passes; {self._what_is_left()}")
            for process in [one for one in self.processes if one not in self._still]:
                self._step(process)
        now = self.clock.monotonic()
        due = min([self.clock.due, self.broker.due, *self._dues])
        return due if due > now else now + TICK

    def _step(self, process: Process) -> None:
        for one in process.pipelines:
            if process.alive and one.is_ready:
                self.clock.begin_step()
                one.step()
        if not process.alive and process in self.processes:
            self.processes.remove(process)
            process.close()

    @property
    def _dues(self) -> list[float]:
        return [one.due for one in self._moving if not one.loop.ended]

    @property
    def _moving(self) -> list[Stepped]:
        """The pipelines of processes that do not stand still."""
        moving = [process for process in self.processes if process not in self._still]
        return [one for process in moving for one in process.pipelines]

    def _go_to(self, moment: float) -> None:
        self.clock.advance(max(0.0, moment - self.clock.monotonic()))
        if self.broker.due <= moment:
            with self.broker.lock:
                self.broker.transactions.expire()
                self.broker.changed()

    def _follow(self, process: Process, stops: int) -> None:
        process.clients.expire()
        if not process.stopping:
            self._start_unless_stopped(stops)

    def _start_unless_stopped(self, stops: int) -> None:
        if stops == self._stops:
            self.start()

    def _give_back(self, group: Group) -> None:
        with self.broker.lock:
            group.rebalance()
            self.broker.changed()

    @property
    def _longest(self) -> float:
        return PATIENCE + sum(sum(one.retry.topics) for one in self.spec.pipelines.values())

    @property
    def _session(self) -> float:
        return self.spec.kafka.group.session_timeout

    # --- what is sent ---

    def _require(self, topic: str) -> None:
        if topic not in self.broker.topics:
            self._require_pattern(topic)
            self.broker.create(topic)

    def _require_pattern(self, topic: str) -> None:
        """Raise `LookupError` for a topic that is not there, unless a pattern would read it."""
        sources = [source for one in self.spec.pipelines.values() for source in one.source]
        if not reads(sources, topic):
            known = ", ".join(sorted(self.broker.topics))
            raise LookupError(f"there is no topic {topic!r}; there are {known}")

    def _encoded(self, topic: str, value: Any) -> bytes | None:
        if value is None or isinstance(value, bytes):
            return value
        pipelines = self.spec.pipelines.values()
        decode = next((one.decode for one in pipelines if reads(one.source, topic)), "json")
        return SERDES[decode].encode(value)

    def _what_is_left(self) -> str:
        states = [one.loop.state for one in self._pipelines]
        return "; ".join(
            f"{state.name}: {counted(state.in_flight)} in flight, "
            f"{state.blocked or state.last_error or state.status}"
            for state in states
        )
