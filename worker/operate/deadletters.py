"""Dead letters as an operator handles them: looked at, planned, moved."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from worker.app import beside_dead_letters, dead_letter_topics, redrive_topics
from worker.errors import ClientError, TopicsRefused
from worker.flow.ledger import Entry, Ledger
from worker.flow.letters import Letter, read
from worker.flow.rate import Rate
from worker.flow.redrive import Decide, Move, Redrive, Selection, Stay, choices
from worker.kafka.admin import KafkaAdmin
from worker.kafka.config import warnings
from worker.kafka.mover import Mover, Progress, Task, ledger_of
from worker.kafka.reader import Reader
from worker.operate.missing import not_there
from worker.settings import Spec, TopicSettings
from worker.settings.patterns import reads
from worker.settings.topics import is_parking, ledger_topic, parking_topic
from worker.spec.topics import topics_of
from worker.types import TopicInfo

log = logging.getLogger(__name__)

_AS_GRANTED = {"READ": "Read", "WRITE": "Write", "DESCRIBE_CONFIGS": "DescribeConfigs"}
"""What Kafka's own tools call operations."""


@dataclass(slots=True)
class Kind:
    """Dead letters that wait, with the same reason and handler."""

    number: int = 0
    oldest: int | None = None
    """When the first of them became a dead letter, in milliseconds since 1970."""


@dataclass(slots=True)
class Survey:
    """What a dead-letter topic holds."""

    topic: str
    waiting: dict[tuple[str | None, str | None], Kind] = field(default_factory=dict)
    """By reason and handler; without a reason by the exception's class."""
    settled: Counter[str] = field(default_factory=Counter)
    """Dead letters that are still in the topic, by what has become of them."""


@dataclass(slots=True)
class Plan:
    """What would be moved now."""

    task: Task
    moves: Counter[tuple[str | None, Move]] = field(default_factory=Counter)
    """Dead letters by reason (without one, the exception's class) and move, less the partition."""
    stays: Counter[str] = field(default_factory=Counter)
    """Dead letters that cannot be moved, by why."""
    topics: set[str] = field(default_factory=set)
    """Where they go, those beyond the limit too."""

    @property
    def number(self) -> int:
        """Dead letters that would be moved."""
        return sum(self.moves.values())


class DeadLetters:
    """The dead letters of a cluster, as a spec and those topics that are allowed let one move them.

    Every method raises `BrokersUnreachable` or another `ClientError` without an answer, and
    `TopicNotFound`.
    """

    def __init__(self, spec: Spec, allow: Collection[str] = ()) -> None:
        self._spec = spec
        self._kafka = spec.kafka
        self._admin = KafkaAdmin(spec.kafka)
        self._allow = allow
        for warning in warnings(spec.kafka):
            log.warning("%s", warning)

    def topics(self) -> list[str]:
        """The dead-letter topics of the spec and their parking topics, those that there are."""
        named = dead_letter_topics(self._spec)
        return list(self._admin.describe([*named, *map(parking_topic, named)]))

    def allows(self, topic: str) -> bool:
        """Whether records may be moved into a topic."""
        sources = [source for one in self._spec.pipelines.values() for source in one.source]
        return topic in self._allow or topic in topics_of(self._spec) or reads(sources, topic)

    def redrive(self, topic: str, to: str | None, limit: int) -> Redrive:
        """What `worker dlq redrive` does with the dead letters of a topic."""
        groups = {self._spec.group(name) for name in self._spec.pipelines}
        parking = None if is_parking(topic) else parking_topic(topic)
        return Redrive(groups, self.allows, parking, limit, to)

    def letters(self, topic: str) -> Iterator[tuple[Letter, Entry | None]]:
        """Every dead letter of a topic, with what has become of it."""
        self._require(topic)
        with Reader(self._kafka) as reader:
            ledger = self._ledger(reader, topic)
            for message in reader.records(topic):
                letter = read(message)
                yield letter, ledger.entries.get(letter.place)

    def survey(self, topic: str) -> Survey:
        """Count what a topic holds."""
        survey = Survey(topic)
        for letter, entry in self.letters(topic):
            if entry is not None:
                survey.settled[entry.fate] += 1
                continue
            kind = survey.waiting.setdefault(
                (letter.reason or letter.error, letter.handler), Kind()
            )
            kind.number += 1
            written = letter.message.timestamp
            kind.oldest = written if kind.oldest is None else min(kind.oldest, written)
        return survey

    def plan(self, topic: str, selection: Selection, decide: Decide, limit: int | None) -> Plan:
        """Find out what would be moved, up to the present end of the topic; nothing is written."""
        self._require(topic)
        with Reader(self._kafka) as reader:
            ledger, bounds = self._ledger(reader, topic), reader.bounds([topic])
            task = Task(
                topic,
                self._admin.topic_id(topic),
                ledger_topic(topic),
                bounds,
                selection,
                decide,
                {},
                limit,
            )
            plan = Plan(task)
            for letter, decided in choices(reader.within(bounds), ledger, selection, decide):
                match decided:
                    case Stay(why):
                        plan.stays[why] += 1
                    case Move(_, target):
                        if target is not None:
                            plan.topics.add(target)
                        if limit is None or plan.number < limit:
                            kind = letter.reason or letter.error
                            plan.moves[kind, replace(decided, partition=None)] += 1
        return plan

    def mover(self, plan: Plan, rate: Rate, on_progress: Callable[[Progress], None]) -> Mover:
        """What does what was planned; topics that are ours alone are made where missing."""
        targets = self._targets(plan.task, plan.topics)
        return Mover(self._kafka, replace(plan.task, targets=targets), rate, on_progress)

    def _targets(self, task: Task, topics: Collection[str]) -> Mapping[str, TopicInfo]:
        wanted = [*sorted(topics), task.ledger]
        ours = redrive_topics(self._spec)
        ours |= beside_dead_letters(self._spec, task.topic, len(task.bounds))
        known = self._admin.describe([task.topic, *wanted])
        missing = {name: ours[name] for name in wanted if name not in known and name in ours}
        if missing:
            self._create(missing)
            known = self._admin.describe([task.topic, *wanted])
        absent = [name for name in wanted if name not in known]
        if absent:
            raise not_there(absent, (), "make it first, or grant this user Describe on it")
        self._require_rights(task, topics, known)
        self._require_compacted(task.ledger)
        return known

    def _require_rights(
        self, task: Task, topics: Collection[str], known: Mapping[str, TopicInfo]
    ) -> None:
        """Raise `ClientError` for all that the cluster says this user may not do, in one round."""
        needed = {
            **dict.fromkeys(sorted(topics), ("WRITE",)),
            task.topic: ("READ",),
            task.ledger: ("READ", "WRITE", "DESCRIBE_CONFIGS"),
        }
        lacking = [
            f"{_AS_GRANTED[operation]} on topic {topic}"
            for topic, operations in needed.items()
            for operation in operations
            if (allowed := known[topic].allowed) is not None and operation not in allowed
        ]
        if lacking:
            raise ClientError(
                f"this user may not move dead letters of {task.topic}",
                advice=f"grant {', '.join(lacking)}",
            )

    def _create(self, topics: Mapping[str, TopicSettings]) -> None:
        try:
            self._admin.create(topics)
        except TopicsRefused as error:
            how = (
                "make them first, the ledger with one partition and cleanup.policy=compact, and "
                "grant this user Describe on them"
            )
            raise ClientError(error.text, advice=how) from error

    def _require_compacted(self, ledger: str) -> None:
        policy = self._admin.setting(ledger, "cleanup.policy")
        if policy != "compact":
            raise ClientError(
                f"{ledger} has cleanup.policy={policy}, so entries would be deleted with time and "
                "their dead letters moved again",
                advice="set it to compact",
            )

    def _ledger(self, reader: Reader, topic: str) -> Ledger:
        name, topic_id = ledger_topic(topic), self._admin.topic_id(topic)
        if not self._is_readable(name):
            return Ledger(topic_id)
        return ledger_of(reader, name, topic_id)

    def _require(self, topic: str) -> None:
        if not self._is_readable(topic):
            how = "`worker dlq list` names those of the spec; this user needs Describe and Read"
            raise not_there([topic], self._admin.names(), how)

    def _is_readable(self, topic: str) -> bool:
        """Whether a topic is there; raises `ClientError` where it may not be read."""
        known = self._admin.describe([topic])
        allowed = known[topic].allowed if known else None
        if allowed is not None and "READ" not in allowed:
            raise ClientError(
                f"topic {topic} may not be read by this user", advice="grant Read on it"
            )
        return bool(known)
