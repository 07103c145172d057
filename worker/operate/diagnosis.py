"""Why lag grows, and what is wrong around it: a spec, its cluster and its worker are looked at."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from worker.app import examine
from worker.app.rights import not_exactly_once
from worker.errors import ClientError, NoWorker
from worker.flow.doctor.facts import Durations, Facts, Source, Standing, Working
from worker.flow.doctor.finding import Finding
from worker.flow.doctor.verdicts import findings
from worker.kafka.admin import GroupInfo, KafkaAdmin
from worker.kafka.config import client_versions
from worker.kafka.reader import Bounds, Reader
from worker.kafka.transactional import ANSWER_WITHIN, require_right
from worker.operate.watching import FailureStats, PipelineStats, Stats, durations_of, stats_of
from worker.settings import Pipeline
from worker.settings.patterns import reads
from worker.spec import Document
from worker.types import Commit, Message, Problem, TopicInfo, TopicPartition
from worker.version import __version__

SAMPLE: Final = 20_000
"""Records that are looked at for hot keys, of all partitions of a pipeline together."""
CONNECT_WITHIN: Final = 3.0
"""Seconds for a connection to a broker."""
HEADER: Final = "headers."


@dataclass(frozen=True, slots=True)
class Examined:
    """A pipeline with what was found."""

    facts: Facts
    findings: Sequence[Finding]


@dataclass(slots=True)
class Diagnosis:
    """What was looked at, and what was found."""

    name: str
    versions: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the spec's topics."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with the cluster and the worker as a whole."""
    worker: str | None = None
    """Where a worker has answered."""
    silent: str | None = None
    """Why none has."""
    pipelines: list[Examined] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    """Topics, groups and transactional ids that nothing is known of, and why."""


Samples = Mapping[TopicPartition, Counter[bytes | None]]


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known at one moment."""

    at: float
    """Seconds on the monotonic clock."""
    bounds: Mapping[TopicPartition, Bounds]
    commits: Mapping[str, Mapping[TopicPartition, Commit]]
    """By pipeline."""
    stats: Stats | None
    durations: Mapping[str, Durations]


class Doctor:
    """Looks twice at the cluster of a spec, and at its worker; in no group, and writes nothing.

    Every method raises `BrokersUnreachable` or another `ClientError` without an answer.
    """

    def __init__(self, document: Document, url: str | None) -> None:
        self._document = document
        self._spec = document.spec
        self._admin = KafkaAdmin(document.spec.kafka)
        self._url = url
        self._found = Diagnosis(document.spec.name, _versions())
        self._there: Sequence[str] = ()

    def diagnose(self, seconds: float, wait: Callable[[float], object]) -> Diagnosis:
        """Look, `wait` so many seconds, look again, and judge."""
        found = self._found
        self._there = self._admin.names()
        found.findings += unreachable(self._admin.brokers())
        found.problems += examine(self._document, self._admin)
        found.problems += self._without_transactions()
        groups = {name: self._group(name) for name in self._spec.pipelines}
        with Reader(self._spec.kafka) as reader:
            before = self._look(reader)
            samples = {name: self._sample(reader, name, before) for name in self._spec.pipelines}
            wait(max(0.0, before.at + seconds - time.monotonic()))
            after = self._look(reader)
        for name in self._spec.pipelines:
            facts = self._facts(name, before, after, groups[name], samples[name])
            found.pipelines.append(Examined(facts, findings(facts)))
        if after.stats is not None:
            found.findings += _of_worker(after.stats)
        return found

    def _without_transactions(self) -> Iterator[Problem]:
        """A problem of each pipeline that may write none, as far as ids of nobody tell."""
        for name, pipeline in self._spec.pipelines.items():
            if pipeline.delivery != "exactly_once":
                continue
            prefix = f"{self._spec.group(name)}."
            try:
                require_right(self._spec.kafka, prefix, ANSWER_WITHIN)
            except ClientError as error:
                if error.retriable or pipeline.instance is not None:
                    self._found.unread[f"transactional ids {prefix}*"] = str(error)
                else:
                    yield not_exactly_once(self._document, name, error)

    def _look(self, reader: Reader) -> _Look:
        bounds: dict[TopicPartition, Bounds] = {}
        for topic in self._there:
            if reads([one for p in self._spec.pipelines.values() for one in p.source], topic):
                try:
                    bounds |= reader.since(topic, "oldest")
                except ClientError as error:
                    self._found.unread[topic] = str(error)
        commits = {name: self._commits(name, bounds) for name in self._spec.pipelines}
        stats, durations = self._ask()
        return _Look(time.monotonic(), bounds, commits, stats, durations)

    def _ask(self) -> tuple[Stats | None, Mapping[str, Durations]]:
        if self._url is None:
            return None, {}
        try:
            stats, durations = stats_of(self._url), durations_of(self._url)
        except NoWorker as error:
            self._found.silent = str(error)
            return None, {}
        if stats.name != self._spec.name:
            self._found.silent = f"the worker at {self._url} is of {stats.name!r}, not of this spec"
            return None, {}
        self._found.worker = self._url
        return stats, durations

    def _commits(
        self, name: str, bounds: Mapping[TopicPartition, Bounds]
    ) -> Mapping[TopicPartition, Commit]:
        group, sources = self._spec.group(name), self._spec.pipelines[name].source
        mine = [source for source in bounds if reads(sources, source.topic)]
        try:
            return self._admin.committed(group, mine)
        except ClientError as error:
            self._found.unread[group] = str(error)
            return {}

    def _group(self, name: str) -> GroupInfo | None:
        group = self._spec.group(name)
        try:
            return self._admin.group(group)
        except ClientError as error:
            self._found.unread[group] = str(error)
            return None

    def _sample(self, reader: Reader, name: str, look: _Look) -> Samples:
        """By what makes lanes, what waits; or else what was written last."""
        pipeline, commits = self._spec.pipelines[name], look.commits[name]
        spans = {}
        for source, (low, end) in look.bounds.items():
            if reads(pipeline.source, source.topic):
                commit = commits.get(source)
                spans[source] = Bounds(max(low, commit.offset if commit else low), end)
        if not any(end > low for low, end in spans.values()):
            spans = {source: look.bounds[source] for source in spans}
        every = sum(end - low for low, end in spans.values())
        part = min(1.0, SAMPLE / every) if every else 0.0
        tails = {
            source: Bounds(end - round((end - low) * part), end)
            for source, (low, end) in spans.items()
        }
        found: Samples = {source: Counter() for source in tails}
        try:
            for one in reader.beside(tails):
                found[one.source][_lane_of(pipeline, one)] += 1
        except ClientError as error:
            self._found.unread[f"keys of {name}"] = str(error)
            return {}
        return found

    def _facts(
        self,
        name: str,
        before: _Look,
        after: _Look,
        group: GroupInfo | None,
        samples: Samples,
    ) -> Facts:
        sources = {
            source: _source(source, before, after, name)
            for source in after.bounds
            if source in before.bounds and reads(self._spec.pipelines[name].source, source.topic)
        }
        return Facts(
            name,
            self._spec.group(name),
            self._spec.pipelines[name],
            max(after.at - before.at, 0.001),
            sources,
            None if group is None else group.members,
            samples,
            _working(name, before, after),
            self._topics(name, sources),
            os.cpu_count() or 1,
        )

    def _topics(self, name: str, sources: Iterable[TopicPartition]) -> Mapping[str, TopicInfo]:
        target = self._spec.pipelines[name].dead_letter
        dead = [] if target is None else target.topics
        return self._admin.describe(sorted({*dead, *(source.topic for source in sources)}))


def _source(source: TopicPartition, before: _Look, after: _Look, name: str) -> Source:
    earlier, later = before.commits[name].get(source), after.commits[name].get(source)
    return Source(
        after.bounds[source].low,
        before.bounds[source].end,
        after.bounds[source].end,
        None if earlier is None else earlier.offset,
        None if later is None else later.offset,
    )


def _working(name: str, before: _Look, after: _Look) -> Working | None:
    """What a worker says of a pipeline; None if none does."""
    if before.stats is None or after.stats is None:
        return None
    earlier, later = before.stats.pipelines.get(name), after.stats.pipelines.get(name)
    if earlier is None or later is None:
        return None
    seconds = max(after.at - before.at, 0.001)
    durations = after.durations.get(name, Durations({}, 0.0))
    durations = durations.since(before.durations.get(name, Durations({}, 0.0)))
    working = [one.at_work for one in later.partitions if one.at_work is not None]
    return Working(
        handled=max(0, later.counts.handled - earlier.counts.handled) / seconds,
        retried=max(0, later.counts.retried - earlier.counts.retried) / seconds,
        in_flight=later.in_flight,
        at_work=sum(working) if working else None,
        shares=_shares(earlier.time, later.time),
        mean=durations.mean,
        p99=durations.quantile(0.99),
        processes=sum(one.ended is None for one in after.stats.processes) or 1,
        failed=later.failed,
        blocked=later.blocked,
        hindered=later.hindered,
        breaker_open=later.breaker_open,
        overrunning=tuple(
            f"{one.topic}/{one.partition}/{one.offset} for {one.seconds:.0f} s"
            for one in later.overrunning
        ),
        held=tuple(_held(later)),
        standing=tuple(_standing(later)),
        last_failure=next((f"{one.reason} {one.error}" for one in later.failures), None),
        crashes=(crashes := _crashes(later)),
        lately=max(0, crashes - _crashes(earlier)),
        last_crash=next(map(_crash, filter(_is_crash, later.failures)), ""),
    )


def _is_crash(failure: FailureStats) -> bool:
    return failure.reason == "crash"


def _crashes(pipeline: PipelineStats) -> int:
    """Failures since the start that are crashes, whatever became of their messages."""
    return sum(one.count for one in pipeline.failures if _is_crash(one))


def _crash(failure: FailureStats) -> str:
    return f"{failure.topic}/{failure.partition}/{failure.offset}, {failure.text}"


def _held(pipeline: PipelineStats) -> Iterable[Standing]:
    for one in pipeline.partitions:
        if one.held_by is not None:
            yield Standing(TopicPartition(one.topic, one.partition), one.held_by, one.commit_age)


def _standing(pipeline: PipelineStats) -> Iterable[Standing]:
    for one in pipeline.partitions:
        if one.at_hand is not None:
            source = TopicPartition(one.topic, one.partition)
            yield Standing(source, one.at_hand, one.at_hand_for)


def _shares(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Which part of the time between two looks went where; empty where that is not told."""
    spent = {stage: max(0.0, after[stage] - before.get(stage, 0.0)) for stage in after}
    every = sum(spent.values())
    return {stage: seconds / every for stage, seconds in spent.items()} if every else {}


def _lane_of(pipeline: Pipeline, message: Message) -> bytes | None:
    """What makes the lane of a message; of a function of users its key stands for that."""
    if pipeline.lane.startswith(HEADER):
        return dict(message.headers).get(pipeline.lane.removeprefix(HEADER))
    return message.key


def unreachable(brokers: Mapping[int, tuple[str, int]]) -> list[Finding]:
    """Brokers that the cluster names and that let no connection in from here."""
    found = []
    for number, address in brokers.items():
        try:
            socket.create_connection(address, CONNECT_WITHIN).close()
        except OSError as error:
            host, port = address
            found.append(
                Finding(
                    "problem",
                    "broker_unreachable",
                    f"broker {number} cannot be reached from here",
                    f"the cluster names it as {host}:{port}: {error}",
                    "set advertised.listeners of the broker to an address that workers reach",
                )
            )
    return found


def _of_worker(stats: Stats) -> list[Finding]:
    """What the worker as a whole says."""
    found = []
    if not stats.ready:
        found.append(
            Finding(
                "problem",
                "not_ready",
                "the worker is not ready",
                "; ".join(stats.reasons),
                "begin with the first of these: docs/health.md says what each means",
            )
        )
    if stats.worker != __version__:
        found.append(
            Finding(
                "warning",
                "other_version",
                "the worker is of another release than this command",
                f"{stats.worker} there, {__version__} here",
                "use the `worker doctor` of that release",
            )
        )
    return found


def _versions() -> dict[str, str]:
    return {
        "stream-worker": __version__,
        **client_versions(),
        "python": platform.python_version(),
    }
