"""Runs of schedules: the pipelines of a spec, and all that goes wrong with them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from random import Random
from traceback import walk_tb
from typing import Final

from worker.app import Options, dead_letter_topics
from worker.engine.partition import Run
from worker.errors import Reject
from worker.handlers import Registry
from worker.settings.patterns import reads
from worker.settings.simulation import Call
from worker.settings.topics import is_retry_topic
from worker.spec import Document
from worker.spec.topics import topics_of
from worker.testing.calls import partition_at_hand
from worker.testing.driver import Driver, NotFinished
from worker.testing.memory.producer import MemoryProducer
from worker.testing.memory.transactional import MemoryTransactional
from worker.testing.process import Process
from worker.testing.simulation.history import (
    Began,
    Committed,
    Ended,
    Happened,
    Held,
    History,
    Kept,
    Said,
    Spot,
)
from worker.testing.simulation.schedule import Event, Given, Schedule
from worker.testing.simulation.stubs import RESULTS, Place, mark_of, marked, place_of, places_of
from worker.types import Message, TopicPartition

AGAIN_AFTER: Final = 1.0
"""Seconds after which another process starts in place of one that was stopped."""
EVEN: Final = 0.5
STARTS: Final = 20
"""So often processes whose pipelines cannot go on are started again."""

Records = Mapping[TopicPartition, Sequence[Message]]
"""By partition, those that are committed."""


def simulate(document: Document, registry: Registry, schedule: Schedule) -> History:
    """Let a schedule happen, to the end; handlers are those of the registry."""
    return Simulation(document, registry, schedule).run()


def simulate_aloud(document: Document, registry: Registry, schedule: Schedule) -> History:
    """Do the same, and take note of what the worker logs."""
    simulation = Simulation(document, registry, schedule)
    log, listener = logging.getLogger("worker"), Listener(simulation.say)
    level, propagates = log.level, log.propagate
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        return simulation.run()
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = propagates


class Listener(logging.Handler):
    """Tells what is logged."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._tell(record.getMessage())


class Simulation:
    """One run of a schedule."""

    def __init__(self, document: Document, registry: Registry, schedule: Schedule) -> None:
        self._schedule = schedule
        spec = document.spec
        groups = {name: spec.group(name) for name in spec.pipelines}
        self._history = History(schedule, spec.pipelines, groups)
        self._chance = Random(schedule.seed)  # noqa: S311 - it is to be foreseen
        self._events: dict[tuple[str, Call, int], list[Event]] = {}
        for event in schedule.events:
            place = event.pipeline, event.call, event.number
            self._events.setdefault(place, []).append(event)
        self._calls: Counter[tuple[str, Call]] = Counter()
        self._results: dict[Place, int] = {}
        """What handlers have returned that have not come to an end."""
        self._marks: list[tuple[str, Place, int]] = []
        """Of each result that a handler has returned whose it is: pipeline, message and number."""
        self._errors: dict[tuple[str, Place], list[Exception]] = {}
        """What handlers are still to raise."""
        self._rejected = False
        """Whether the handler that comes to an end has said that its message never can be."""
        self._slow: list[float] = []
        """Seconds that the next runs take."""
        self._committed: dict[str, dict[TopicPartition, tuple[int, str]]] = {}
        self._changes = -1
        self._most: Counter[tuple[str, str]] = Counter()
        options = Options(registry=marked(registry, self._returned), draw=self._chance.random)
        self._driver = Driver(document, options, processes=0, seconds=self._seconds)
        self._driver.on_call = self._called

    def run(self) -> History:
        """Take all steps; what the worker raises when it has started is noted, and ends the run."""
        driver, history = self._driver, self._history
        with driver:
            come = {one.topic for one in self._schedule.given}
            for topic in sorted(come.difference(topics_of(driver.spec))):
                driver.broker.create(topic)
            for _ in range(self._schedule.processes):
                driver.start()
            for at, given in groupby(self._schedule.given, lambda one: one.at):
                driver.clock.at(at, partial(self._give, [*given]))
            try:
                self._run()
            except NotFinished as error:
                history.left = str(error)
            except Exception as error:  # noqa: BLE001 - whatever defect it is, its seed is to be told
                history.raised = _with_place(error)
            self._look()
            history.failed = driver.failed
        history.letters = self._letters()
        logs = [log for topic in driver.broker.topics.values() for log in topic.logs]
        history.ends = {log.source: log.end_for("read_committed") for log in logs}
        records = {source: driver.broker.records_of(source) for source in history.ends}
        history.messages = self._found_messages(records)
        history.results, history.repeated = self._found_results(records)
        return history

    def _found_messages(self, records: Records) -> Mapping[TopicPartition, Sequence[Kept]]:
        """Those of the topics that are read, retry topics among them."""
        sources = [topic for one in self._history.pipelines.values() for topic in one.source]
        return {
            source: [
                Kept(one.offset, place, one.key)
                for one, place in zip(those, places_of(source, those), strict=True)
            ]
            for source, those in records.items()
            if is_retry_topic(source.topic) or reads(sources, source.topic)
        }

    def _found_results(
        self, records: Records
    ) -> tuple[
        Mapping[str, Mapping[Place, Mapping[int, list[Spot]]]],
        Mapping[str, Sequence[tuple[Place, int]]],
    ]:
        """Those of the topics that results are written to, and which of them are there again."""
        found: dict[str, dict[Place, dict[int, list[Spot]]]]
        found = {name: {} for name in self._history.pipelines}
        repeated: dict[str, list[tuple[Place, int]]] = {name: [] for name in found}
        seen: set[int] = set()
        others = {*dead_letter_topics(self._driver.spec)}
        for source, messages in records.items():
            if source.topic not in others and not is_retry_topic(source.topic):
                for message in messages:
                    mark = mark_of(message)
                    if mark is not None:
                        pipeline, place, number = self._marks[mark]
                        spots = found[pipeline].setdefault(place, {}).setdefault(number, [])
                        spots.append((source, message.offset))
                        if mark in seen:
                            repeated[pipeline].append((place, number))
                        seen.add(mark)
        return found, repeated

    def _letters(self) -> Mapping[str, Mapping[Place, list[tuple[str | None, Spot]]]]:
        found: dict[str, dict[Place, list[tuple[str | None, Spot]]]]
        found = {name: {} for name in self._history.pipelines}
        names = {group: name for name, group in self._history.groups.items()}
        for letter in self._driver.dead_letters:
            place = letter.topic or "", letter.partition or 0, letter.offset or 0
            spot = letter.message.source, letter.message.offset
            spots = found[names[letter.group or ""]].setdefault(place, [])
            spots.append((letter.reason, spot))
        return found

    def say(self, text: str) -> None:
        """Take note of something."""
        self._history.facts.append(Said(self._now, text))

    def _run(self) -> None:
        """Go on to the end, with processes started again whose pipelines cannot go on."""
        for _ in range(STARTS):
            self._driver.run()
            ended = [one for one in self._driver.processes if one.failed]
            if not ended:
                return
            for process in ended:
                self._driver.kill_now(process)

    def _give(self, given: Sequence[Given]) -> None:
        for one in given:
            key = None if one.key is None else one.key.encode()
            headers = [(RESULTS, b"%d" % one.results)]
            message = self._driver.broker.append(one.topic, one.value, key, headers=headers)
            if one.gap:
                self._driver.broker.append_gap(message.source, one.gap)

    # --- what the driver tells and asks ---

    def _called(
        self, process: Process, pipeline: str, call: Call, messages: Sequence[Message]
    ) -> None:
        self._look()
        if call == "handle":
            self._begin(process, pipeline, messages)
        elif call == "handled":
            self._end(process, pipeline, messages)
        elif call == "poll":
            self._look_at_memory(process, pipeline)
        number = self._calls[pipeline, call] = self._calls[pipeline, call] + 1
        for event in self._events.get((pipeline, call, number), ()):
            if process.alive:
                self._history.facts.append(Happened(self._now, process.name, event))
                self._happen(event, process, messages)
        for message in messages if self._errors and call == "handle" else ():
            errors = self._errors.get((pipeline, place_of(message)))
            if errors:
                self._rejected = isinstance(errors[-1], Reject)
                raise errors.pop()

    def _returned(self, pipeline: str, place: Place, results: int) -> int:
        self._results[place] = results
        first = len(self._marks)
        self._marks += [(pipeline, place, number) for number in range(results)]
        return first

    def _seconds(self, _run: Run) -> float:
        if self._slow:
            return self._slow.pop()
        return self._schedule.pace and self._schedule.pace * self._chance.random()

    # --- what is noted ---

    def _begin(self, process: Process, pipeline: str, messages: Sequence[Message]) -> None:
        member = process.clients.members[self._history.groups[pipeline]]
        now, partition = self._now, partition_at_hand()
        source = partition.source
        is_owner = partition.alive and member.owns(source)
        self._history.facts += [
            Began(now, process.name, pipeline, place, source, one.offset, is_owner)
            for place, one in zip(places_of(source, messages), messages, strict=True)
        ]

    def _end(self, process: Process, pipeline: str, messages: Sequence[Message]) -> None:
        now, returned = self._now, self._results
        self._history.facts += [
            Ended(now, process.name, pipeline, place, returned.pop(place, None), self._rejected)
            for place in places_of(partition_at_hand().source, messages)
        ]
        self._rejected = False

    def _look(self) -> None:
        """Note what groups have committed since this was looked at."""
        broker = self._driver.broker
        if broker.changes == self._changes:
            return
        self._changes = broker.changes
        for name in self._history.pipelines:
            group = broker.group(self._history.groups[name])
            found = {p: (one.offset, one.metadata) for p, one in group.committed.items()}
            before = self._committed.get(name, {})
            if found != before:
                self._committed[name] = found
                self._note(name, {p: one for p, one in found.items() if before.get(p) != one})

    def _note(self, name: str, news: Mapping[TopicPartition, tuple[int, str]]) -> None:
        logs = (log for topic in self._driver.broker.topics.values() for log in topic.logs)
        ends = {log.source: log.end for log in logs}
        self._history.facts += [
            Committed(self._now, name, source, offset, metadata, ends)
            for source, (offset, metadata) in news.items()
        ]

    def _look_at_memory(self, process: Process, pipeline: str) -> None:
        held = process.held(pipeline)
        if held > self._most[process.name, pipeline]:
            self._most[process.name, pipeline] = held
            self._history.facts.append(Held(self._now, process.name, pipeline, held))

    @property
    def _now(self) -> float:
        return self._driver.clock.monotonic()

    # --- what happens ---

    def _happen(self, event: Event, process: Process, messages: Sequence[Message]) -> None:  # noqa: C901, PLR0912 - a list
        driver, pipeline, seconds = self._driver, event.pipeline, event.seconds
        member = process.clients.members[driver.spec.group(pipeline)]
        writer = process.clients.writers[pipeline]
        match event.what:
            case "kill":
                driver.kill_now(process)
            case "pause":
                driver.stand_still(process, seconds)
            case "lose":
                if member.is_member:
                    member.expire()
            case "revoke":
                if member.owned:
                    driver.revoke_now(pipeline, self._chance.choice(member.owned), seconds)
            case "outage":
                driver.broker.stop()
                driver.clock.at(self._now + seconds, driver.broker.start)
            case "hold":
                writer.hold_deliveries()
                driver.clock.at(self._now + seconds, writer.release)
            case "jump":
                driver.clock.set_off(seconds)
            case "slow":
                self._slow.append(seconds)
            case "start":
                driver.start()
            case "stop":
                process.stop()
                driver.clock.at(self._now + AGAIN_AFTER, driver.start)
            case "raise" | "reject":
                error = (
                    Reject("as the schedule says") if event.what == "reject" else OSError("away")
                )
                self._errors[pipeline, place_of(messages[0])] = [error] * event.times
            case "refuse":
                writer.fail_next("INVALID_RECORD: it was to be refused")
            case "time out":
                writer.fail_next("_MSG_TIMED_OUT: it was to be", event.times)
            case "refuse commits":
                refusing = writer if isinstance(writer, MemoryTransactional) else member
                refusing.fail_commits(times=event.times)
            case "doubt":
                self._doubt(writer)
            case "fence":
                if isinstance(writer, MemoryTransactional):
                    writer.shut_out()

    def _doubt(self, writer: MemoryProducer) -> None:
        if isinstance(writer, MemoryTransactional):
            writer.lose_answer(committed=self._chance.random() < EVEN)
        else:
            writer.fail_next("_MSG_TIMED_OUT: the answer was lost", stored=True)


def _with_place(error: Exception) -> str:
    """An exception, and where it was raised."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    place = f"{frame.f_globals.get('__name__')}:{line} in {frame.f_code.co_name}"
    return f"{type(error).__name__} at {place}: {error}"
