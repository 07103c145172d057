"""A run as one of its pipelines has seen it, in the form in which it can be asked."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import inf
from operator import itemgetter
from types import MappingProxyType
from typing import Final, NamedTuple

from worker.app.checks import HEADER
from worker.flow import envelope
from worker.flow.offsets import Ranges
from worker.settings import Pipeline
from worker.settings.patterns import reads
from worker.settings.simulation import Kind
from worker.settings.topics import retry_topic
from worker.testing.simulation.history import (
    Began,
    Committed,
    Ended,
    Fact,
    Happened,
    Held,
    History,
    Kept,
    Said,
    Spot,
)
from worker.testing.simulation.stubs import Place
from worker.types import TopicPartition

INDEX: Final = itemgetter(0)
NO_RESULTS: Final[Mapping[int, Sequence[Spot]]] = MappingProxyType({})


class Known(NamedTuple):
    """What a group has committed of a partition."""

    when: int
    """Its index among what has happened."""
    commit: Committed
    above: Ranges | None
    """What is finished above the offset; None where that is not what the metadata is."""

    def has_above(self, offset: int) -> bool:
        """Whether it says that this is finished, above its offset."""
        return any(first <= offset < end for first, end in self.above or ())


def lives_of(history: History) -> Collection[Life]:
    """A run as each of its pipelines has seen it."""
    lives = {name: Life(history, name) for name in history.pipelines}
    for index, fact in enumerate(history.facts):
        if isinstance(fact, Happened):
            for life in lives.values():
                life.note(index, fact)
        elif not isinstance(fact, Said):
            lives[fact.pipeline].note(index, fact)
    return lives.values()


class Life:
    """What has happened to a pipeline; an index says what came before what in the whole run."""

    def __init__(self, history: History, name: str) -> None:
        self.history = history
        self.name = name
        self.pipeline = history.pipelines[name]
        self.begun: list[tuple[int, Began]] = []
        self.commits: list[Known] = []
        self.held: list[Held] = []
        self._begun: dict[Place, int] = {}
        """When each message was given to a handler first."""
        self._first_tier: dict[Place, int] = {}
        """The tier in which it was."""
        self._ended: defaultdict[Place, list[tuple[int, Ended]]] = defaultdict(list)
        self._committed: defaultdict[TopicPartition, list[Known]] = defaultdict(list)
        self._events: list[tuple[int, Kind]] = []
        group = history.groups[name]
        self._tiers = {
            retry_topic(group, tier): tier for tier in range(len(self.pipeline.retry.topics))
        }
        topics = dict.fromkeys(source.topic for source in history.messages)
        own = [one for one in topics if one in self._tiers or reads(self.pipeline.source, one)]
        self.sources = [source for source in history.messages if source.topic in own]
        """Partitions that it reads, those of its retry topics too."""
        self._moved: defaultdict[Place, list[tuple[int, Spot]]] = defaultdict(list)
        """Of each message the tiers that it was moved to."""
        self.inputs: list[Place] = []
        self._keyless: set[Place] = set()
        self._lanes: defaultdict[object, list[Place]] = defaultdict(list)
        self._lane_of = _lane_of(self.pipeline)
        for source in self.sources:
            for message in history.messages[source]:
                if source.topic in self._tiers:
                    spot = source, message.offset
                    self._moved[message.place].append((self.tier(source), spot))
                else:
                    self._read_first(source, message)
        self.results = history.results[name]
        """By message its results by their numbers, and where they are."""
        self.repeated = history.repeated[name]
        """Results that are there more often than a handler has returned them, by their numbers."""
        self.letters = history.letters[name]
        """By message why it is a dead letter, and where."""
        self.is_exact = self.pipeline.delivery == "exactly_once"
        """Whether it writes in transactions."""
        waits = self.pipeline.drain_timeout, self.pipeline.revoke_timeout
        self.is_waited_for = history.schedule.pace < min(waits)
        """Whether who gives a partition up waits for its handlers, where these are not slow."""
        self._skips = self.pipeline.on_error == "skip"

    def note(self, index: int, fact: Fact) -> None:
        """Take note of what has happened; in order."""
        match fact:
            case Began():
                self.begun.append((index, fact))
                self._begun.setdefault(fact.place, index)
                self._first_tier.setdefault(fact.place, self.tier(fact.source))
            case Ended():
                self._ended[fact.place].append((index, fact))
            case Committed():
                known = Known(index, fact, envelope.decode(fact.metadata, fact.offset))
                self.commits.append(known)
                self._committed[fact.source].append(known)
            case Held():
                self.held.append(fact)
            case Happened():
                self._events.append((index, fact.event.what))

    def _read_first(self, source: TopicPartition, message: Kept) -> None:
        self.inputs.append(message.place)
        if message.key is None:
            self._keyless.add(message.place)
        lane = self._lane_of(message.key)
        if lane is not None:
            self._lanes[source, lane].append(message.place)

    # --- what is asked ---

    @property
    def lanes(self) -> Collection[list[Place]]:
        """Messages that are handled one after the other, each lane in order.

        None where nothing is promised: of messages without order, or that tiers may overtake.
        """
        if self.pipeline.retry.topics and not self.pipeline.keeps_order:
            return ()
        return self._lanes.values()

    @property
    def failed(self) -> str | None:
        """Why it cannot go on in the end."""
        return self.history.failed.get(self.name)

    def tier(self, source: TopicPartition) -> int:
        """The tier that a partition belongs to; -1 for one that messages are read from first."""
        return self._tiers.get(source.topic, -1)

    def first(self, kinds: Collection[Kind]) -> float:
        """When something of these has happened first; infinite if it has not."""
        return next((index for index, what in self._events if what in kinds), inf)

    def count(self, kind: Kind) -> int:
        """How often something has happened."""
        return sum(what == kind for _, what in self._events)

    def between(self, source: TopicPartition, first: int, end: int) -> Sequence[Kept]:
        """The messages of a partition from one offset to another."""
        messages = self.history.messages.get(source, ())
        return messages[bisect_left(messages, (first,)) : bisect_left(messages, (end,))]

    def last_commit(self, source: TopicPartition, index: float = inf) -> Known | None:
        """What was committed last of a partition before something; None where nothing was."""
        commits = self._committed[source]
        before = bisect_left(commits, index, key=INDEX)
        return commits[before - 1] if before else None

    def wanted(self, place: Place) -> str:
        """What a message should have, as far as a handler has said."""
        found = [one.results for _, one in self._ended[place] if one.results is not None]
        return f"its {found[-1]} results" if found else "results"

    def was_handled(self, place: Place, index: int) -> bool:
        """Whether a handler had returned for a message before something."""
        return any(at < index and one.results is not None for at, one in self._ended[place])

    def times_handled(self, place: Place) -> int:
        """How often a handler has come to an end with a message, be it that it has raised."""
        return len(self._ended[place])

    def times_raised(self, place: Place) -> int:
        """How often a handler has raised at a message."""
        return sum(one.results is None for _, one in self._ended[place])

    def is_finished(
        self, place: Place, index: float, ends: Mapping[TopicPartition, int], tier: int
    ) -> bool:
        """Whether nothing is left to do for a message where it was read, when logs ended here.

        It has all of its results, is a dead letter, was skipped, or moved to a `tier` or beyond.
        """
        if place in self.letters and _is_there([spot for _, spot in self.letters[place]], ends):
            return True
        if place in self._moved and _is_there(
            [spot for to, spot in self._moved[place] if to >= tier], ends
        ):
            return True
        results = self.results.get(place, NO_RESULTS)
        for at, one in self._ended[place]:
            if at >= index:
                return False
            if self._skips if one.results is None else _are_there(results, one.results, ends):
                return True
        return False

    def first_begun(self, place: Place) -> float:
        """When a message was given to a handler first; infinite if it was not."""
        return self._begun.get(place, inf)

    def settled(self, place: Place) -> float:
        """When it was settled first what becomes of a message: it was handled, or has failed.

        Where no handler came to an end it has ended its owners, and nobody knows when that was it.
        """
        failures = 0
        for index, one in self._ended[place]:
            failures += one.results is None
            if one.results is not None or one.is_final or failures == self._attempts(place):
                return index
        return inf if self._ended[place] else -inf

    def _attempts(self, place: Place) -> int:
        """How often it may fail: all attempts where it is handled first, then one in each tier."""
        retry = self.pipeline.retry
        left = len(retry.topics) - 1 - self._first_tier[place]
        return retry.attempts + left * self.pipeline.keeps_order

    def has_comparable_results(self, place: Place) -> bool:
        """Whether results of a message are where its key says, and of the last time it was handled.

        One that has failed when it came again, or whose result no broker took then, has left those
        of an earlier time.
        """
        ended = self._ended[place]
        is_given_up = place in self.letters or not ended or ended[-1][1].results is None
        return place not in self._keyless and not is_given_up

    def last_results(self, place: Place) -> Iterator[Spot]:
        """The last results of a message, in each partition where there are any."""
        last: dict[TopicPartition, int] = {}
        for spots in self.results.get(place, {}).values():
            for source, offset in spots:
                last[source] = max(offset, last.get(source, offset))
        return iter(last.items())


def _lane_of(pipeline: Pipeline) -> Callable[[bytes | None], object]:
    """What makes of a key the lane of its messages; None for those without order."""
    if pipeline.ordering == "partition":
        return lambda _key: ()
    if pipeline.ordering == "key" and not pipeline.lane.startswith(HEADER):
        return lambda key: key
    return lambda _key: None


def _are_there(
    results: Mapping[int, Sequence[Spot]], number: int, ends: Mapping[TopicPartition, int]
) -> bool:
    """Whether so many results of a message were written when logs ended here."""
    for place in range(number):
        for source, offset in results.get(place, ()):
            if offset < ends.get(source, 0):
                break
        else:
            return False
    return True


def _is_there(spots: Iterable[Spot], ends: Mapping[TopicPartition, int]) -> bool:
    """Whether one of these was."""
    return any(offset < ends.get(source, 0) for source, offset in spots)
