"""What has become of a message: looked up in the topics of a spec, in no group."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from worker.errors import ClientError, TopicNotFound
from worker.flow import headers
from worker.flow.ledger import Entry
from worker.flow.life import (
    MISSING,
    Life,
    Missing,
    Place,
    Route,
    lives_of,
    place_of,
    standing_of,
    steps_of,
)
from worker.kafka.admin import KafkaAdmin
from worker.kafka.mover import ledger_of
from worker.kafka.reader import Reader
from worker.operate.explanation import Explanation, Scope, Told
from worker.operate.missing import not_there
from worker.operate.routes import route_of
from worker.operate.searching import Keep, OnProgress, Search, look
from worker.settings import Spec
from worker.settings.patterns import reads
from worker.settings.topics import (
    is_parking,
    ledger_topic,
)
from worker.types import Commit, Message, TopicPartition

SLACK: Final = timedelta(minutes=1)
"""By how much clocks may differ: what follows a message is looked for from so long before it."""
DAY: Final = timedelta(days=1)
"""How far back is looked for what may lie at any time."""


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
        search = Search(reader, scope.seconds, found, on_progress, records)
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
            search = Search(reader, scope.seconds, found, on_progress, [])
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

    def _read_back(self, search: Search, traces: Collection[str]) -> None:
        """Look for what these traces are linked to: the messages at which they have begun."""
        links = {
            headers.linked_of(one) for one in search.records if headers.trace_of(one) in traces
        }
        links -= {None, *map(headers.context_of, search.records)}
        if links:
            sources = [topic for topic in self.topics() if self._is_source(topic)]
            search.read(sources, lambda one: headers.context_of(one) in links)

    def _read_on(self, search: Search, lives: Sequence[Life]) -> None:
        """Look for what belongs to messages and has neither the trace nor the key asked for."""
        own = [topic for life in lives for topic in _own(life.route)]
        outputs = [topic for life in lives for topic in sorted(life.route.outputs)]
        search.read(
            self._present([*own, *outputs]), lambda one: any(life.owns(one) for life in lives)
        )

    def _told(self, search: Search, wanted: Sequence[Life], limit: int) -> Explanation:
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
