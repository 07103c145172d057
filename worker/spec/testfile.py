"""Tests of a spec: what is checked of them, wherever they stand."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import get_args

from worker.settings import Expectations, Fault, Given, Spec, SpecTest, refusals
from worker.settings.patterns import reads
from worker.settings.simulation import Scheduled
from worker.settings.topics import retry_topic
from worker.spec.topics import topics_of
from worker.spec.tree import KeyPath
from worker.types import Reason

Problems = Iterator[tuple[KeyPath, str]]


def mistakes(spec: Spec, tests: Mapping[str, SpecTest], folder: Path) -> Problems:
    """What of tests cannot work with their spec; files are relative to `folder`."""
    for name, test in tests.items():
        here: KeyPath = ("tests", name)
        yield from _given(spec, (*here, "given"), test.given, folder)
        yield from _expected(spec, here, test)
        for place, fault in enumerate(test.faults):
            yield from _fault(spec, (*here, "faults", place), fault)
        if test.schedule is not None:
            yield from _schedule(spec, (*here, "schedule"), test.schedule)
        for place, step in enumerate(test.steps):
            yield from _given(spec, (*here, "steps", place, "given"), step.given, folder)
            yield from _expected(spec, (*here, "steps", place), step)


def _given(spec: Spec, here: KeyPath, given: Mapping[str, list[Given]], folder: Path) -> Problems:
    for topic, records in given.items():
        yield from _topic(spec, (*here, topic), topic)
        for place, record in enumerate(records):
            file = record.file
            if file is not None and not is_file(folder / file):
                words = f"{file!r} is no file; legal is a path relative to this file"
                yield (*here, topic, place, "file"), words
            declared = spec.topics.get(topic)
            number = None if declared is None else declared.partitions
            if number is not None and (record.partition or 0) >= number:
                words = f"{record.partition}; {topic!r} has {number} partitions, from 0"
                yield (*here, topic, place, "partition"), words


def _expected(spec: Spec, here: KeyPath, wanted: Expectations) -> Problems:
    for topic in wanted.expect:
        yield from _topic(spec, (*here, "expect", topic), topic)
    for place, letter in enumerate(wanted.dead_letters or ()):
        yield from _topic(spec, (*here, "dead_letters", place, "topic"), letter.topic)
        yield from _reason((*here, "dead_letters", place, "reason"), letter.reason)
    for place, retried in enumerate(wanted.retries):
        yield from _topic(spec, (*here, "retries", place, "topic"), retried.topic)
        yield from _pipeline(spec, (*here, "retries", place, "pipeline"), retried.pipeline)
    for name, topics in wanted.committed.items():
        yield from _pipeline(spec, (*here, "committed", name), name)
        for topic in topics:
            yield from _topic(spec, (*here, "committed", name, topic), topic)
    for name in wanted.failed or ():
        yield from _pipeline(spec, (*here, "failed", name), name)


def _fault(spec: Spec, here: KeyPath, fault: Fault) -> Problems:
    yield from _topic(spec, (*here, "at", "topic"), fault.at.topic)
    wrong = None if fault.refuse is None else refusals.unknown(fault.refuse)
    if wrong is not None:
        yield (*here, "refuse"), wrong


def _schedule(spec: Spec, here: KeyPath, schedule: Scheduled) -> Problems:
    for place, message in enumerate(schedule.given):
        yield from _topic(spec, (*here, "given", place, "topic"), message.topic)
    for place, event in enumerate(schedule.events):
        yield from _pipeline(spec, (*here, "events", place, "pipeline"), event.pipeline)


def _topic(spec: Spec, path: KeyPath, topic: str | None) -> Problems:
    if topic is None:
        return
    known = [*topics_of(spec), *_tiers(spec)]
    sources = [source for pipeline in spec.pipelines.values() for source in pipeline.source]
    if topic not in known and not reads(sources, topic):
        yield path, f"the spec does not name topic {topic!r}; {_hint(topic, topics_of(spec))}"


def _tiers(spec: Spec) -> Iterator[str]:
    for name, pipeline in spec.pipelines.items():
        for tier in range(len(pipeline.retry.topics)):
            yield retry_topic(spec.group(name), tier)


def _pipeline(spec: Spec, path: KeyPath, name: str | None) -> Problems:
    if name is not None and name not in spec.pipelines:
        yield path, f"no pipeline is named {name!r}; {_hint(name, spec.pipelines)}"


def _reason(path: KeyPath, reason: str | None) -> Problems:
    reasons = get_args(Reason)
    if reason is not None and reason not in reasons:
        yield path, f"no dead letter has {reason!r}; {_hint(reason, reasons)}"


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


def is_file(path: Path) -> bool:
    """Whether a path leads to a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name
        return False
