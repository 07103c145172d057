"""What has become of a message: looked up in the topics of a spec, in no group."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from worker.app import tiers_of
from worker.errors import ClientError, InvalidPartition, TopicNotFound
from worker.flow import headers
from worker.flow.ledger import Entry
from worker.flow.life import (
    MISSING,
    Life,
    Missing,
    Place,
    Route,
    Standing,
    Step,
    lives_of,
    place_of,
    standing_of,
    steps_of,
)
from worker.kafka.admin import KafkaAdmin
from worker.kafka.mover import ledger_of
from worker.kafka.reader import Bounds, Reader
from worker.operate.missing import not_there
from worker.settings import KafkaSettings, Spec
from worker.settings.patterns import reads
from worker.settings.topics import (
    fence_topic,
    is_parking,
    ledger_topic,
    parking_topic,
    redrive_topic,
)
from worker.types import Commit, Message, TopicPartition

SLACK: Final = timedelta(minutes=1)
"""By how much clocks may differ: what follows a message is looked for from so long before it."""
DAY: Final = timedelta(days=1)
"""How far back is looked for what may lie at any time."""
KEPT: Final = 10_000
"""Records that are kept at most while topics are read."""
KEPT_BYTES: Final = 64 * 1024**2
"""The same in bytes of their keys and payloads."""
TELL_EVERY: Final = 500
"""Records between two reports of progress."""

Keep = Callable[[Message], bool]
OnProgress = Callable[[int, int], object]
"""Is told how many offsets were passed, and of how many."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How far topics are read."""

    since: datetime | None = None
    """From when on; None from just before the message, or else from a day ago."""
    seconds: float = 60.0
    """How long that may take."""
    limit: int = 10
    """Messages that are told of at most, the latest."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message with what happened to it."""

    life: Life
    steps: Sequence[Step]
    standing: Standing | None
    """None where nobody says what its group has committed."""
    unread: Sequence[str] = ()
    """Topics that were not read to their ends, and in which it may go on."""


@dataclass(slots=True)
class Explanation:
    """What was found, and where it was looked for."""

    since: datetime
    """From when on topics were read."""
    lives: list[Told] = field(default_factory=list)
    more: int = 0
    """Messages beyond the limit."""
    others: list[Message] = field(default_factory=list)
    """Records that belong to none of these."""
    looked: list[str] = field(default_factory=list)
    """Topics that were read to their ends."""
    unread: dict[str, str] = field(default_factory=dict)
    """Topics that were not, groups that do not say what they have committed, and a place where
    nothing is; and why."""


class Explainer:
    """The topics of a spec, read in no group; nothing is written and nothing committed.

    Every method raises `BrokersUnreachable` or another `ClientError` without an answer.
    """

    def __init__(self, spec: Spec) -> None:
        self._kafka = spec.kafka
        self._admin = KafkaAdmin(spec.kafka)
        self._there = set(self._admin.names())
        self._routes = [route_of(spec, name) for name in spec.pipelines]

    def topics(self) -> list[str]:
        """Every topic in which messages of the spec, or their results, may lie and which is there.

        Those of their own first, then results, then sources, which are the longest.
        """
        own = [topic for route in self._routes for topic in _own(route)]
        outputs = [topic for route in self._routes for topic in sorted(route.outputs)]
        sources = sorted(topic for topic in self._there if self._is_source(topic))
        return [one for one in dict.fromkeys([*own, *outputs, *sources]) if one in self._there]

    def of_place(self, place: Place, scope: Scope, on_progress: OnProgress) -> Explanation:
        """What has become of the message at a place, in each pipeline that reads it.

        Of a record that none reads, a result, what has become of the messages of its trace.
        Raises `TopicNotFound` and `InvalidPartition`, too.
        """
        self._require(place.topic)
        with Reader(self._kafka) as reader:
            record, missing = look(self._kafka, reader, place)
            wanted = self._begun(reader, place, record, missing)
            if wanted or record is None:
                found = self._of_messages(reader, wanted, record, scope, on_progress)
                if not wanted and missing is not None:
                    found.unread[str(place)] = MISSING[missing]
                return found
        return self._of_result(record, scope, on_progress)

    def of_key(self, key: bytes, scope: Scope, on_progress: OnProgress) -> Explanation:
        """What has become of the messages with a key."""
        return self._matching(lambda message: message.key == key, scope, on_progress)

    def of_trace(self, trace: str, scope: Scope, on_progress: OnProgress) -> Explanation:
        """What has become of the messages of a trace, given in hexadecimal digits."""
        return self._of_traces({trace}, scope, on_progress)

    def _of_messages(
        self,
        reader: Reader,
        wanted: Sequence[Life],
        record: Message | None,
        scope: Scope,
        on_progress: OnProgress,
    ) -> Explanation:
        """What has become of messages, of one of which there may be a record already."""
        known = [life.source for life in wanted] + [record]
        records = [one for one in known if one is not None]
        found = Explanation(scope.since or _just_before(records))
        search = _Search(reader, scope.seconds, found, on_progress, records)
        own = [topic for life in wanted for topic in _own(life.route)]
        search.read(self._present(own), lambda one: any(life.owns(one) for life in wanted))
        lives = search.lives(wanted)
        outputs = [topic for life in wanted for topic in sorted(life.route.outputs)]
        search.read(self._present(outputs), lambda one: any(life.owns(one) for life in lives))
        return self._told(search, wanted, scope.limit)

    def _of_result(self, record: Message, scope: Scope, on_progress: OnProgress) -> Explanation:
        """What has become of the messages of a result's trace: nothing else leads to its own."""
        traces, since = headers.traces_of(record), scope.since or _just_before([record]) - DAY
        if not traces:
            return Explanation(since, others=[record])
        return self._of_traces(traces, replace(scope, since=since), on_progress)

    def _of_traces(self, traces: set[str], scope: Scope, on_progress: OnProgress) -> Explanation:
        return self._matching(
            lambda message: not traces.isdisjoint(headers.traces_of(message)),
            scope,
            on_progress,
            traces,
        )

    def _matching(
        self, keep: Keep, scope: Scope, on_progress: OnProgress, traces: Collection[str] = ()
    ) -> Explanation:
        found = Explanation(scope.since or datetime.now(UTC) - DAY)
        with Reader(self._kafka) as reader:
            search = _Search(reader, scope.seconds, found, on_progress, [])
            search.read(self.topics(), keep)
            self._read_back(search, traces)
            lives = lives_of(search.records, self._routes)
            for life in lives[-scope.limit :]:
                if life.source is None:
                    life.source, life.missing = self._look_by_headers(reader, life.first)
                    search.records += [] if life.source is None else [life.source]
            self._read_on(search, lives[-scope.limit :])
            found = self._told(search, lives, scope.limit)
            found.others = [one for one in found.others if keep(one)]
            return found

    def _read_back(self, search: _Search, traces: Collection[str]) -> None:
        """Look for what these traces are linked to: the messages at which they have begun."""
        links = {
            headers.linked_of(one) for one in search.records if headers.trace_of(one) in traces
        }
        links -= {None, *map(headers.context_of, search.records)}
        if links:
            sources = [topic for topic in self.topics() if self._is_source(topic)]
            search.read(sources, lambda one: headers.context_of(one) in links)

    def _read_on(self, search: _Search, lives: Sequence[Life]) -> None:
        """Look for what belongs to messages and has neither the trace nor the key asked for."""
        own = [topic for life in lives for topic in _own(life.route)]
        outputs = [topic for life in lives for topic in sorted(life.route.outputs)]
        search.read(
            self._present([*own, *outputs]), lambda one: any(life.owns(one) for life in lives)
        )

    def _told(self, search: _Search, wanted: Sequence[Life], limit: int) -> Explanation:
        """Tell of what a search has found, once it is known where else to look."""
        found, lives = search.found, search.lives(wanted)
        found.more = max(0, len(lives) - limit)
        lives = lives[found.more :]
        ledgers = self._ledgers(search.reader, lives)
        steps = [step for life in lives for step in steps_of(life, ledgers)]
        sent = {step.topic for step in steps if step.place is None}
        known = {*found.looked, *found.unread}
        elsewhere = [topic for topic in self.topics() if topic in sent and topic not in known]
        search.read(elsewhere, lambda one: any(life.owns(one) for life in lives))
        lives = search.lives(wanted)[found.more :]
        found.unread |= _not_there(lives, self._there)
        told = {place_of(one) for life in lives for one in life.everything()}
        found.others = [one for one in search.records if place_of(one) not in told][:limit]
        now, commits = time.time(), self._commits(lives, found)
        for life in lives:
            made = commits.get(life.route.group)
            standing = None if made is None else standing_of(life, ledgers, made, now)
            unread = [topic for topic in _ways(life.route) if topic in found.unread]
            found.lives.append(Told(life, steps_of(life, ledgers), standing, unread))
        return found

    def _begun(
        self, reader: Reader, place: Place, record: Message | None, missing: Missing | None
    ) -> list[Life]:
        """The messages that a record may be of, as far as they are known without a search."""
        lives = []
        for route in self._routes:
            first = self._first(route, place, record)
            if first is None:
                continue
            hidden = missing if record is None or route.isolation == "read_committed" else None
            life = Life(route, first, record, hidden)
            if first != place:
                life.source, life.missing = self._look_by_headers(reader, first)
            lives.append(life)
        return lives

    def _first(self, route: Route, place: Place, record: Message | None) -> Place | None:
        if record is not None:
            return route.first_place(record)
        return place if reads(route.sources, place.topic) else None

    def _look_by_headers(
        self, reader: Reader, place: Place
    ) -> tuple[Message | None, Missing | None]:
        """The same as `look`; headers are what others have written, so they lead nowhere else."""
        if place.topic not in self.topics():
            return None, None
        try:
            return look(self._kafka, reader, place)
        except ClientError:
            return None, None

    def _ledgers(
        self, reader: Reader, lives: Iterable[Life]
    ) -> dict[str, dict[tuple[int, int], Entry]]:
        dead = {one.topic for life in lives for one in life.trail if one.topic in life.route.dead}
        return {
            topic: ledger_of(reader, ledger_topic(topic), self._admin.topic_id(topic)).entries
            for topic in dead
            if ledger_topic(topic) in self._there
        }

    def _commits(
        self, lives: Iterable[Life], found: Explanation
    ) -> dict[str, dict[TopicPartition, Commit]]:
        """By group what it has committed where these messages are."""
        places: dict[str, set[TopicPartition]] = {}
        for life in lives:
            if life.last.topic in self._there:
                places.setdefault(life.route.group, set()).add(life.last.source)
        commits = {}
        for group, sources in places.items():
            try:
                commits[group] = dict(self._admin.committed(group, sorted(sources)))
            except ClientError as error:
                found.unread[group] = str(error)
        return commits

    def _require(self, topic: str) -> None:
        """Raise `TopicNotFound` for a topic that is not one of `topics`."""
        known = self.topics()
        if topic in known:
            return
        if self._is_named(topic):
            raise not_there([topic], (), "the spec names it, and `worker plan` shows what it lacks")
        listed = f"those of the spec are: {', '.join(known) or 'none'}"
        if topic not in self._there:
            raise not_there([topic], known, listed)
        raise TopicNotFound(f"topic {topic} is none of the spec", advice=listed)

    def _is_named(self, topic: str) -> bool:
        """Whether the spec names a topic, be it there or not."""
        return any(route.takes(topic) or topic in route.outputs for route in self._routes)

    def _is_source(self, topic: str) -> bool:
        return any(reads(route.sources, topic) for route in self._routes)

    def _present(self, topics: Iterable[str]) -> list[str]:
        return [topic for topic in dict.fromkeys(topics) if topic in self._there]


def look(
    kafka: KafkaSettings, reader: Reader, place: Place
) -> tuple[Message | None, Missing | None]:
    """The record at a place, and why readers of committed records do not see one.

    Its topic has to be there. Raises `InvalidPartition` where its partition is not.
    """
    source = place.source
    bounds = reader.bounds([place.topic])
    if source not in bounds:
        last = len(bounds) - 1
        raise InvalidPartition(f"topic {place.topic} has the partitions 0 to {last}")
    low, end = bounds[source]
    if place.offset < low:
        return None, "expired"
    record = reader.at(source, place.offset) if place.offset < end else None
    if record is not None:
        return record, None
    with Reader(kafka, "read_uncommitted") as every:
        if place.offset >= every.bounds([place.topic])[source].end:
            return None, "ahead"
        hidden = every.at(source, place.offset)
    return hidden, "gap" if hidden is None else "open" if place.offset >= end else "aborted"


class _Search:
    """Topics are read, in bounded time and memory, and records are kept of them."""

    def __init__(
        self,
        reader: Reader,
        seconds: float,
        found: Explanation,
        on_progress: OnProgress,
        records: list[Message],
    ) -> None:
        self.reader = reader
        self.found = found
        self.records = records
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._on_progress = on_progress
        self._kept_bytes = 0
        self._passed = 0
        self._all = 0

    def read(self, topics: Sequence[str], keep: Keep) -> None:
        """Read topics up to their present ends; which ones were not is noted."""
        spans = {topic: span for topic in topics if (span := self._span(topic)) is not None}
        self._all += sum(end - low for span in spans.values() for low, end in span.values())
        for topic, span in spans.items():
            try:
                why = self._read(span, keep)
            except ClientError as error:
                why = str(error)
            if why is None and topic not in self.found.looked:
                self.found.looked.append(topic)
            elif why is not None:
                self.found.unread[topic] = why
        self._on_progress(self._all, self._all)

    def lives(self, wanted: Iterable[Life]) -> list[Life]:
        """These messages with all that belongs to them of what was kept."""
        known = {(life.route.group, life.first): life for life in wanted}
        routes = list({life.route.group: life.route for life in known.values()}.values())
        for life in lives_of(self.records, routes):
            key = (life.route.group, life.first)
            if key in known:
                life.missing = known[key].missing
                life.source = life.source or known[key].source
                known[key] = life
        return list(known.values())

    def _span(self, topic: str) -> dict[TopicPartition, Bounds] | None:
        try:
            return self.reader.since(topic, self.found.since)
        except ClientError as error:
            self.found.unread[topic] = str(error)
            return None

    def _read(self, span: dict[TopicPartition, Bounds], keep: Keep) -> str | None:
        """Read one topic; returns why not to its end."""
        at = {source: low for source, (low, _) in span.items()}
        before = self._passed
        for number, message in enumerate(self.reader.beside(span)):
            if number % TELL_EVERY == 0:
                self._passed = before + sum(at[one] - span[one].low for one in at)
                self._on_progress(self._passed, self._all)
                if time.monotonic() > self._deadline:
                    return f"not to its end: the time is over ({self._seconds:g} s)"
            at[message.source] = message.offset + 1
            if keep(message):
                if len(self.records) >= KEPT or self._kept_bytes > KEPT_BYTES:
                    return f"not to its end: {len(self.records):,} records fit, look for less"
                self._kept_bytes += len(message.key or b"") + len(message.value or b"")
                self.records.append(message)
        self._passed = before + sum(end - low for low, end in span.values())
        return None


def _own(route: Route) -> list[str]:
    """The topics in which only messages of a pipeline lie, as other than results."""
    return [*route.tiers, *route.dead, *([route.redrive] if route.redrive else [])]


def _ways(route: Route) -> list[str]:
    """The topics in which a message that its pipeline has finished may go on."""
    return [*_own(route), *sorted(route.outputs)]


def _not_there(lives: Iterable[Life], there: Collection[str]) -> dict[str, str]:
    """Topics of the spec that are gone, or not made yet; those of commands come when needed."""
    routes = [life.route for life in lives]
    named = {one for route in routes for one in (*route.tiers, *route.dead, *route.outputs)}
    return {
        topic: "there is no such topic that this user may see: what lies in it is not known"
        for topic in sorted(named)
        if topic not in there and not is_parking(topic)
    }


def _just_before(records: Iterable[Message]) -> datetime:
    """Just before the oldest of some records; of times that are none, a day ago."""
    now = time.time()
    times = [min(now, max(0, one.timestamp / 1000)) for one in records]
    return datetime.fromtimestamp(min(times, default=now), UTC) - (SLACK if times else DAY)


def route_of(spec: Spec, name: str) -> Route:
    """Where messages of a pipeline go, as the spec says it."""
    pipeline, group = spec.pipelines[name], spec.group(name)
    target = pipeline.dead_letter
    dead = [] if target is None else target.topics
    return Route(
        name,
        group,
        pipeline.source,
        [tier.topic for tier in tiers_of(spec, name)],
        None if target is None else redrive_topic(group),
        [topic for one in dead for topic in (one, parking_topic(one))],
        {*_free(spec), *filter(None, [pipeline.to])},
        pipeline.isolation,
    )


def _free(spec: Spec) -> Iterable[str]:
    """Topics that the spec declares and gives no part to: handlers may name them."""
    used: set[str | None] = set()
    for name, pipeline in spec.pipelines.items():
        group, target = spec.group(name), pipeline.dead_letter
        used |= {pipeline.to, redrive_topic(group), fence_topic(group)}
        used |= {tier.topic for tier in tiers_of(spec, name)}
        for topic in [] if target is None else target.topics:
            used |= {topic, parking_topic(topic), ledger_topic(topic)}
    sources = [source for one in spec.pipelines.values() for source in one.source]
    return (topic for topic in spec.topics if topic not in used and not reads(sources, topic))
