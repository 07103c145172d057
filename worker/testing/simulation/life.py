"""A run as one of its pipelines has seen it, in the form in which it can be asked."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from math import inf

from worker.app.checks import HEADER
from worker.flow import envelope
from worker.flow.offsets import Ranges
from worker.settings.patterns import reads
from worker.settings.simulation import Kind
from worker.settings.topics import retry_topic
from worker.testing.simulation.history import Began, Committed, Ended, Happened, Held, History, Spot
from worker.testing.simulation.stubs import Place, place_of
from worker.types import Message, TopicPartition


class Life:
    """What has happened to a pipeline; an index says what came before what in the whole run."""

    def __init__(self, history: History, name: str) -> None:
        self.history = history
        self.name = name
        self.pipeline = history.pipelines[name]
        self.begun: list[tuple[int, Began]] = []
        self.commits: list[tuple[int, Committed]] = []
        self.held: list[Held] = []
        self._begun: defaultdict[Place, list[int]] = defaultdict(list)
        self._ended: defaultdict[Place, list[tuple[int, Ended]]] = defaultdict(list)
        self._committed: defaultdict[TopicPartition, list[tuple[int, Committed]]] = defaultdict(
            list
        )
        self._events: list[tuple[int, Kind]] = []
        for index, fact in enumerate(history.facts):
            self._note(index, fact)
        group = history.groups[name]
        self._tiers = {
            retry_topic(group, tier): tier for tier in range(len(self.pipeline.retry.topics))
        }
        first = [topic for topic in history.topics if reads(self.pipeline.source, topic)]
        topics = [*first, *self._tiers]
        self.sources = [source for source in history.ends if source.topic in topics]
        """Partitions that it reads, those of its retry topics too."""
        self._read: defaultdict[TopicPartition, list[tuple[int, Place]]] = defaultdict(list)
        """By partition its messages, by their offsets."""
        self._moved: defaultdict[Place, list[tuple[int, Spot]]] = defaultdict(list)
        """Of each message the tiers that it was moved to."""
        self.inputs: list[Place] = []
        self._keyless: set[Place] = set()
        self._lanes: defaultdict[object, list[Place]] = defaultdict(list)
        for topic in first:
            for message in history.topics[topic]:
                self._read_first(message, place_of(message))
        for topic, tier in self._tiers.items():
            for message in history.topics[topic]:
                place = place_of(message)
                self._read[message.source].append((message.offset, place))
                self._moved[place].append((tier, (message.source, message.offset)))
        self.results = history.results[name]
        """By message its results by their numbers, and where they are."""
        self.letters = history.letters[name]
        """By message why it is a dead letter, and where."""

    def _note(self, index: int, fact: object) -> None:
        match fact:
            case Began(pipeline=self.name, place=place):
                self.begun.append((index, fact))
                self._begun[place].append(index)
            case Ended(pipeline=self.name, place=place):
                self._ended[place].append((index, fact))
            case Committed(pipeline=self.name, source=source):
                self.commits.append((index, fact))
                self._committed[source].append((index, fact))
            case Held(pipeline=self.name):
                self.held.append(fact)
            case Happened(event=event):
                self._events.append((index, event.what))

    def _read_first(self, message: Message, place: Place) -> None:
        source = message.source
        self.inputs.append(place)
        self._read[source].append((message.offset, place))
        if message.key is None:
            self._keyless.add(place)
        lane = self._lane_of(message)
        if lane is not None:
            self._lanes[source, lane].append(place)

    def _lane_of(self, message: Message) -> object:
        match self.pipeline.ordering:
            case "partition":
                return ()
            case "key" if not self.pipeline.lane.startswith(HEADER):
                return message.key
        return None

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
    def is_exact(self) -> bool:
        """Whether it writes in transactions."""
        return self.pipeline.delivery == "exactly_once"

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

    def between(self, source: TopicPartition, first: int, end: int) -> Iterator[tuple[int, Place]]:
        """The messages of a partition from one offset to another, with their offsets."""
        read = self._read[source]
        for place in range(bisect_left(read, (first,)), len(read)):
            if read[place][0] >= end:
                return
            yield read[place]

    def committed(self, source: TopicPartition, index: float = inf) -> int:
        """What was committed of a partition before something; 0 where nothing was."""
        last = self._last_commit(source, index)
        return 0 if last is None else last.offset

    def is_above(self, source: TopicPartition, offset: int, index: int) -> bool:
        """Whether a commit had said before something that this is finished, above its offset."""
        last = self._last_commit(source, index)
        return last is not None and any(a <= offset < b for a, b in _above(last))

    def _last_commit(self, source: TopicPartition, index: float) -> Committed | None:
        commits = self._committed[source]
        before = bisect_left(commits, index, key=lambda one: one[0])
        return commits[before - 1][1] if before else None

    def wanted(self, place: Place) -> str:
        """What a message should have, as far as a handler has said."""
        found = [one.results for _, one in self._ended[place] if one.results is not None]
        return f"its {found[-1]} results" if found else "results"

    def was_handled(self, place: Place, index: int) -> bool:
        """Whether a handler had returned for a message before something."""
        return any(at < index and one.results is not None for at, one in self._ended[place])

    def has_raised(self, place: Place) -> bool:
        """Whether a handler has raised at a message."""
        return any(one.results is None for _, one in self._ended[place])

    def is_finished(
        self, place: Place, index: float, ends: Mapping[TopicPartition, int], tier: int
    ) -> bool:
        """Whether nothing is left to do for a message where it was read, when logs ended here.

        It has all of its results, is a dead letter, was skipped, or moved to a `tier` or beyond.
        """
        if place in self.letters and any(_is_there(spot, ends) for _, spot in self.letters[place]):
            return True
        if place in self._moved and any(
            to >= tier and _is_there(spot, ends) for to, spot in self._moved[place]
        ):
            return True
        results = self.results.get(place, {})
        for at, one in self._ended[place]:
            number = one.results
            if at >= index:
                return False
            if number is None:
                if self.pipeline.on_error == "skip":
                    return True
            elif all(_one_is_there(results.get(n, ()), ends) for n in range(number)):
                return True
        return False

    def first_begun(self, place: Place) -> float:
        """When a message was given to a handler first; infinite if it was not."""
        begun = self._begun[place]
        return begun[0] if begun else inf

    def settled(self, place: Place) -> float:
        """When it was settled first what becomes of a message: it was handled, or has failed.

        Where no handler came to an end it has ended its owners, and nobody knows when that was it.
        """
        retry, failures = self.pipeline.retry, 0
        attempts = retry.attempts + len(retry.topics) * self.pipeline.keeps_order
        for index, one in self._ended[place]:
            failures += one.results is None
            if one.results is not None or one.is_final or failures == attempts:
                return index
        return inf if self._ended[place] else -inf

    def has_comparable_results(self, place: Place) -> bool:
        """Whether results of a message are where its key says, and of the last time it was handled.

        One that has failed when it came again has left those of an earlier time.
        """
        ended = self._ended[place]
        return place not in self._keyless and bool(ended) and ended[-1][1].results is not None

    def last_results(self, place: Place) -> Iterator[Spot]:
        """The last results of a message, in each partition where there are any."""
        last: dict[TopicPartition, int] = {}
        for spots in self.results.get(place, {}).values():
            for source, offset in spots:
                last[source] = max(offset, last.get(source, offset))
        return iter(last.items())


def _is_there(spot: Spot, ends: Mapping[TopicPartition, int]) -> bool:
    source, offset = spot
    return offset < ends.get(source, 0)


def _one_is_there(spots: Collection[Spot], ends: Mapping[TopicPartition, int]) -> bool:
    return any(_is_there(spot, ends) for spot in spots)


def _above(one: Committed) -> Ranges:
    return envelope.decode(one.metadata, one.offset) or ()
