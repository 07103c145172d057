"""A record is handled by hand: which pipeline it belongs to, and what its handler is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from worker.app import Around, Options, Rehearsal, Rehearsed, check, named_topics, tiers_of
from worker.errors import BadConfiguration, WorkerError
from worker.flow import letters
from worker.flow.life import MISSING, Missing, Place
from worker.flow.redrive import Move, record_of
from worker.kafka.admin import KafkaAdmin
from worker.kafka.config import DEFAULT_MESSAGE_BYTES
from worker.kafka.lines import lines_in
from worker.kafka.reader import Reader
from worker.kafka.written import BadLine, message_of
from worker.operate.missing import not_there
from worker.operate.routes import route_of
from worker.operate.searching import look
from worker.settings import Pipeline, Spec
from worker.settings.patterns import reads
from worker.spec import Document
from worker.types import Headers, Message, StoredMessage, TopicInfo


class NotReplayed(WorkerError):
    """No record is there, or it is not clear which pipeline is to handle it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A record as a handler is to be given it."""

    spec: Spec
    """With the handler in its pipeline, be it that the pipeline is made for it."""
    pipeline: str
    raw: StoredMessage
    hidden: Missing | None
    """Why readers of committed records do not see it, if so."""
    damaged: str | None
    """What a dead letter lacks of its message."""
    topics: Mapping[str, TopicInfo]
    """Those that may be written to."""
    absent: Sequence[str]
    """Those of them that are not there, and that the worker does not make itself."""

    def unhurried(self) -> Replay:
        """The same without `timeout`, which would end who looks at it step by step."""
        pipeline = self.spec.pipelines[self.pipeline].model_copy(update={"timeout": None})
        pipelines = {**self.spec.pipelines, self.pipeline: pipeline}
        return replace(self, spec=self.spec.model_copy(update={"pipelines": pipelines}))

    def run(self, options: Options, around: Around, stage: Around) -> Rehearsed:
        """Have it handled; see `Rehearsal`."""
        rehearsal = Rehearsal(self.spec, self.pipeline, self.topics, options, around, stage)
        with rehearsal:
            return rehearsal.handle(self.raw)


class Line(NamedTuple):
    """A line of a file of captured records; without a number the first."""

    file: Path
    number: int | None


def replay_of(
    document: Document,
    options: Options,
    where: Place | Line,
    pipeline: str | None,
    handler: str | None,
) -> Replay:
    """Read the record at a place and find the pipeline that it belongs to, unless one is named.

    Its handler is another one where one is named. For a line of a file no cluster is asked: topics
    that may be written to are taken to be there. Raises `TopicNotFound`, `InvalidPartition`,
    `NotReplayed`, `Unreadable`, and `BadConfiguration` where that handler does not fit.
    """
    if isinstance(where, Line):
        return _replay(document, options, captured(where), pipeline, handler)
    admin = KafkaAdmin(document.spec.kafka)
    there = admin.names()
    if where.topic not in there:
        raise not_there([where.topic], there, "`worker topics list` shows those that are")
    record, missing = _read(document.spec, where)
    found = _replay(document, options, record, pipeline, handler)
    known = admin.describe([*found.topics])
    absent = [topic for topic in _named(document) if topic not in known]
    return replace(found, hidden=missing, topics={**found.topics, **known}, absent=absent)


def captured(line: Line) -> Message:
    """The record in a line that is not empty; raises `NotReplayed` and `Unreadable`."""
    file, wanted = line
    for number, content in lines_in(file):
        if wanted in (None, number):
            return _message(f"{file}:{number}", content)
    raise NotReplayed(f"{file} {'is empty' if wanted is None else f'has nothing in line {wanted}'}")


def _replay(
    document: Document, options: Options, record: Message, pipeline: str | None, handler: str | None
) -> Replay:
    """With topics as brokers make them."""
    name, chosen = _chosen(document.spec, record, pipeline, handler)
    pipelines = {**document.spec.pipelines, name: chosen}
    spec = document.spec.model_copy(update={"pipelines": pipelines})
    problems = check(replace(document, spec=spec), options)
    if problems:
        raise BadConfiguration(problems)
    assumed = TopicInfo(record.partition + 1, DEFAULT_MESSAGE_BYTES)
    topics = [*_named(document), *(tier.topic for tier in tiers_of(spec, name))]
    raw, damaged = _as_given(spec, name, record)
    return Replay(spec, name, raw, None, damaged, dict.fromkeys(topics, assumed), [])


def _message(place: str, line: bytes) -> Message:
    try:
        return message_of(line)
    except BadLine as bad:
        raise NotReplayed("\n".join(f"{place}: {problem}" for problem in bad.problems)) from bad


def _named(document: Document) -> list[str]:
    return [*named_topics(document, list(document.spec.pipelines))]


def _read(spec: Spec, place: Place) -> tuple[Message, Missing | None]:
    with Reader(spec.kafka) as reader:
        record, missing = look(spec.kafka, reader, place)
    if record is None:
        raise NotReplayed(f"{place}: {MISSING[missing or 'gap']}")
    return record, missing


def _chosen(
    spec: Spec, record: Message, wanted: str | None, handler: str | None
) -> tuple[str, Pipeline]:
    """The pipeline that is to handle a record, and its name."""
    names = [wanted] if wanted is not None else _owners(spec, record, handler)
    if not names and handler is not None:
        return handler, Pipeline.model_validate({"from": record.topic, "handler": handler})
    if len(names) != 1:
        found = f"pipelines {', '.join(names)} read" if names else "no pipeline reads"
        hint = "--pipeline says which one" if names else "--handler says what is to handle it"
        raise NotReplayed(f"{found} {record.topic}; {hint}")
    name = names[0]
    if name not in spec.pipelines:
        known = ", ".join(spec.pipelines)
        raise NotReplayed(f"no pipeline is named {name!r}; known are: {known}")
    pipeline = spec.pipelines[name]
    if handler is None or handler == pipeline.handler:
        return name, pipeline
    alone = {"pool": None, "batch": None, "ordering": "partition"}
    return name, pipeline.model_copy(update={"handler": handler, **alone})


def _owners(spec: Spec, record: Message, handler: str | None) -> list[str]:
    """Pipelines that a record belongs to, if one has the handler that one; else those with it."""
    own = [name for name in spec.pipelines if route_of(spec, name).first_place(record) is not None]
    having = [name for name, one in spec.pipelines.items() if one.handler == handler]
    return [name for name in own if name in having] or own or having


def _as_given(spec: Spec, name: str, record: Message) -> tuple[StoredMessage, str | None]:
    """The record as it is, or a dead letter as it is once it was redriven; and what it lacks."""
    route = route_of(spec, name)
    topic, damaged = record.topic, None
    headers: Headers = record.headers
    if topic in route.dead and route.redrive is not None and not reads(route.sources, topic):
        letter = letters.read(record)
        sent = record_of(letter, Move("redriven", route.redrive))
        assert sent is not None  # noqa: S101 - it goes to a topic
        topic, headers = sent.topic, sent.headers
        damaged = letter.truncated or letter.redacted
    raw = StoredMessage(
        topic,
        record.partition,
        record.offset,
        value=record.value,
        key=record.key,
        headers=headers,
        timestamp=record.timestamp,
    )
    return raw, damaged
