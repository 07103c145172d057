"""A message's whole life, as headers, ledgers and committed offsets tell it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from worker.flow import envelope, headers, later, letters
from worker.flow.ledger import Entry
from worker.settings.patterns import reads
from worker.settings.topics import is_parking
from worker.types import Commit, Isolation, Message, TopicPartition

Kind = Literal[
    "written",
    "failed",
    "moved",
    "followed",
    "dead_lettered",
    "parked",
    "redriven",
    "dropped",
    "sent_again",
    "result",
]
"""What happens to a message; `failed` for the first time."""

State = Literal[
    "finished", "unfinished", "not_begun", "waits", "dead", "parked", "dropped", "redriven"
]
"""Where a message has come to: `waits` is in a retry topic, `dead` in the dead letters, `redriven`
sent from there to where its record is not found."""

Missing = Literal["expired", "ahead", "open", "aborted", "gap"]
"""Why readers of committed records find nothing at an offset: retention has deleted it, nothing is
written there yet, its transaction is open or was aborted, or the log has a gap there."""

MISSING: Final[dict[Missing, str]] = {
    "expired": "its record is no longer kept",
    "ahead": "nothing is written there yet",
    "open": "its transaction is open: it is not read before that is committed",
    "aborted": "its transaction was aborted: readers of committed records pass it over",
    "gap": "no record is there: the end of a transaction, or one that compaction has removed",
}
"""The same in words."""

Found = Literal["trace", "context", "key"]
"""What a result has in common with its message: trace and key; these with others, too, or the very
span alone; or the key."""

LATER: Final = 3
"""Records with the key of a message that may be its results, of those after it."""

_PLACE: Final = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})")


class Place(NamedTuple):
    """An offset of a partition of a topic."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def source(self) -> TopicPartition:
        """Its partition."""
        return TopicPartition(self.topic, self.partition)


def place_from(text: str) -> Place | None:
    """The place that a text such as `orders/3/42` names; None where it names none."""
    found = _PLACE.fullmatch(text)
    return None if found is None else Place(found[1], int(found[2]), int(found[3]))


def place_of(message: Message) -> Place:
    """Where a record lies."""
    return Place(message.topic, message.partition, message.offset)


@dataclass(frozen=True, slots=True)
class Route:
    """The topics through which the messages of a pipeline go."""

    pipeline: str
    group: str
    sources: Sequence[str]
    """Names and patterns."""
    tiers: Sequence[str] = ()
    redrive: str | None = None
    dead: Collection[str] = ()
    """Dead-letter topics and their parking topics."""
    outputs: Collection[str] = ()
    isolation: Isolation = "read_committed"

    def takes(self, topic: str) -> bool:
        """Whether messages of the pipeline lie in a topic, as other than results."""
        return topic in (*self.tiers, self.redrive, *self.dead) or reads(self.sources, topic)

    def first_place(self, message: Message) -> Place | None:
        """Where the message was read first that a record is, or was; None if none of ours."""
        if message.topic in self.tiers:
            history = later.history_of(message)
            if history.topic != self.redrive:
                return Place(history.topic, history.partition, history.offset)
            return _in_letter(letters.read(message)) or Place(*history[:3])
        if message.topic == self.redrive or message.topic in self.dead:
            letter = letters.read(message)
            if letter.group not in {self.group, None}:
                return None
            return _in_letter(letter) or place_of(message)
        return place_of(message) if reads(self.sources, message.topic) else None


def _in_letter(letter: letters.Letter) -> Place | None:
    topic, partition, offset = letter.topic, letter.partition, letter.offset
    if topic is None or partition is None or offset is None:
        return None
    return Place(topic, partition, offset)


def _sent_from(message: Message | None) -> Place | None:
    """Where a message was read first that was sent back to a source from the dead letters."""
    return None if message is None else _in_letter(letters.read(message))


class Step(NamedTuple):
    """What happened to a message; `at` in milliseconds since 1970."""

    kind: Kind
    at: int
    place: Place | None = None
    """The record that tells of it; None of one that is only in a ledger."""
    topic: str | None = None
    """Where it was sent."""
    attempts: int | None = None
    """Failed attempts until then, since it was read first or redriven."""
    reason: str | None = None
    error: str | None = None
    text: str | None = None
    due: int | None = None
    """When it may be handled, in milliseconds since 1970."""
    took: int | None = None
    """How long the last of these attempts has taken, in milliseconds."""
    found_by: Found | None = None


@dataclass(slots=True)
class Life:
    """What is known of a message of one pipeline."""

    route: Route
    first: Place
    """Where it was read first."""
    source: Message | None = None
    missing: Missing | None = None
    """Why there is no `source`, as far as it was looked for."""
    trail: list[Message] = field(default_factory=list)
    """Its records in retry topics, among the dead letters and redriven ones; and elsewhere, where
    it was sent from there."""
    results: list[tuple[Message, Found]] = field(default_factory=list)

    @property
    def records(self) -> list[Message]:
        """What is left of it, the oldest first."""
        known = [self.source] if self.source is not None else []
        return [*known, *sorted(self.trail, key=lambda one: one.timestamp)]

    def everything(self) -> list[Message]:
        """The same, and its results."""
        return [*self.records, *(one for one, _ in self.results)]

    def owns(self, message: Message) -> bool:
        """Whether a record may belong to it."""
        first = self.route.first_place(message)
        if first == self.first or (first is not None and _sent_from(message) == self.first):
            return True
        if message.topic not in self.route.outputs:
            return False
        known = self.records
        if message.key is not None and any(one.key == message.key for one in known):
            return True
        return _traced(known, message) is not None

    @property
    def last(self) -> Place:
        """Where its pipeline has it, or had it last."""
        own = [one for one in self.records if self.route.takes(one.topic)]
        return place_of(own[-1]) if own else self.first


class Standing(NamedTuple):
    """Where a message has come to."""

    state: State
    place: Place
    """Its last record that the pipeline reads, or its last dead letter."""
    in_front: int = 0
    """Offsets between the committed one and it, while it is not finished."""
    suspect: bool = False
    """Whether it may have ended the worker."""
    due: int | None = None


Ledgers = Mapping[str, Mapping[tuple[int, int], Entry]]
"""By dead-letter topic the entries of its ledger."""


def lives_of(records: Iterable[Message], routes: Sequence[Route]) -> list[Life]:
    """The messages that some records are about, the oldest first, with all that belong to each."""
    found: dict[tuple[str, Place], Life] = {}
    every = list({place_of(message): message for message in records}.values())
    for message in every:
        for route in routes:
            first = route.first_place(message)
            if first is None:
                continue
            life = found.setdefault((route.group, first), Life(route, first))
            if reads(route.sources, message.topic):
                life.source = message
            else:
                life.trail.append(message)
    for life in list(found.values()):
        earlier = found.get((life.route.group, _sent_from(life.source) or life.first), life)
        if earlier is not life and life.source is not None:
            earlier.trail.append(life.source)
        life.results = _results(life, every)
    _doubt(found.values())
    return sorted(found.values(), key=_order)


def _order(life: Life) -> tuple[int, str, Place]:
    """The oldest first."""
    return life.records[0].timestamp, life.route.pipeline, life.first


def _results(life: Life, records: Sequence[Message]) -> list[tuple[Message, Found]]:
    """Those that its trace leads to; else the next ones with its key."""
    known = life.records
    outputs = [one for one in records if one.topic in life.route.outputs]
    traced = [(one, found) for one in outputs if (found := _traced(known, one)) is not None]
    if traced:
        return traced
    if not known or known[0].key is None:
        return []
    key, at = known[0].key, known[0].timestamp
    after = [one for one in outputs if one.key == key and one.timestamp >= at]
    return [(one, "key") for one in sorted(after, key=lambda one: one.timestamp)[:LATER]]


def _doubt(lives: Collection[Life]) -> None:
    """Take what may result from several of these messages as certain of none, nor of a dead letter.

    One that was sent again is no other message.
    """
    again = {(life.route.group, place_of(one)) for life in lives for one in life.trail}
    claims = Counter(
        place_of(one)
        for life in lives
        if (life.route.group, life.first) not in again
        for one, found in life.results
        if found == "trace"
    )
    for life in lives:
        is_dead = life.last.topic in life.route.dead
        life.results = [
            (
                one,
                "context" if found == "trace" and (is_dead or claims[place_of(one)] > 1) else found,
            )
            for one, found in life.results
        ]


def _traced(known: Sequence[Message], result: Message) -> Found | None:
    """What a trace tells of a record that may result from a message of which these are known.

    A message that is not followed passes its context on as it is; the trace of one that is
    followed goes on with the message's, or is linked to it. Many messages may share a trace, and
    those that were sent in one span a context, so with another key it may be of one of these.
    """
    contexts = {headers.context_of(result), headers.linked_of(result)} - {None}
    traces = headers.traces_of(result)
    if any(one.key == result.key and headers.trace_of(one) in traces for one in known):
        return "trace"
    return "context" if any(headers.context_of(one) in contexts for one in known) else None


def steps_of(life: Life, ledgers: Ledgers) -> list[Step]:
    """What happened to a message, in the order of the records' times."""
    steps = [_written(life.source)] if life.source is not None else []
    steps += [Step("failed", at) for at in {*map(_first_failure, life.trail)} if at is not None]
    for message in life.trail:
        steps += _passed(message, life.route, ledgers)
    steps += [
        Step("result", one.timestamp, place_of(one), one.topic, found_by=found)
        for one, found in life.results
    ]
    sent = {step.topic for step in steps if step.kind in {"redriven", "parked"} and step.place}
    told = [step for step in steps if step.place or step.topic is None or step.topic not in sent]
    return sorted(told, key=lambda step: step.at)


def _written(message: Message) -> Step:
    return Step("written", message.timestamp, place_of(message), message.topic)


def _first_failure(message: Message) -> int | None:
    """When its handler has failed for the first time, in milliseconds since 1970."""
    return later.history_of(message).first_failure or letters.read(message).first_failure


def _passed(message: Message, route: Route, ledgers: Ledgers) -> Iterable[Step]:
    """What a record behind the first one tells."""
    place, topic, at = place_of(message), message.topic, message.timestamp
    if topic in route.tiers:
        history = later.history_of(message)
        yield Step(
            "moved" if history.attempts else "followed",
            at,
            place,
            topic,
            history.attempts,
            history.reason or None,
            history.error or None,
            due=later.due(message),
            took=history.took,
        )
    elif topic in route.dead:
        letter = letters.read(message)
        kind: Kind = "parked" if is_parking(topic) else "dead_lettered"
        why = letter.attempts, letter.reason, letter.error, letter.text
        yield Step(kind, at, place, topic, *why, took=letter.took)
        entry = ledgers.get(topic, {}).get(letter.place)
        if entry is not None:
            yield Step(_fate(entry), entry.at, None, entry.to)
    else:
        yield Step("redriven" if topic == route.redrive else "sent_again", at, place, topic)


def _fate(entry: Entry) -> Kind:
    fates: dict[str, Kind] = {"parked": "parked", "dropped": "dropped"}
    return fates.get(entry.fate, "redriven")


def standing_of(
    life: Life, ledgers: Ledgers, commits: Mapping[TopicPartition, Commit], now: float
) -> Standing:
    """Where a message has come to; `now` in seconds since 1970, `commits` those of its group."""
    last = life.last
    if last.topic in life.route.dead:
        entry = ledgers.get(last.topic, {}).get((last.partition, last.offset))
        if entry is None:
            return Standing("parked" if is_parking(last.topic) else "dead", last)
        states: dict[str, State] = {"parked": "parked", "dropped": "dropped"}
        return Standing(states.get(entry.fate, "redriven"), last)
    commit = commits.get(last.source)
    if commit is None:
        return Standing("not_begun", last)
    if is_finished(last.offset, commit):
        return Standing("finished", last)
    due = _due(life, last)
    if due is not None and due > now * 1000:
        return Standing("waits", last, last.offset - commit.offset, due=due)
    suspect = envelope.note_of(commit.metadata, commit.offset).suspect == last.offset
    return Standing("unfinished", last, last.offset - commit.offset, suspect, due)


def _due(life: Life, place: Place) -> int | None:
    record = next((one for one in life.trail if place_of(one) == place), None)
    if record is None or place.topic not in life.route.tiers:
        return None
    return later.due(record)


def is_finished(offset: int, commit: Commit) -> bool:
    """Whether a group has committed an offset, or has noted it as finished."""
    above = envelope.decode(commit.metadata, commit.offset) or ()
    return offset < commit.offset or any(start <= offset < end for start, end in above)
