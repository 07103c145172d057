"""What must hold of every run, whatever has gone wrong in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from worker.settings.simulation import Kind
from worker.testing.simulation.history import History
from worker.testing.simulation.life import Life, lives_of
from worker.testing.simulation.stubs import Place

DISTURBING: Final[frozenset[Kind]] = frozenset(
    {
        "doubt",
        "fence",
        "hold",
        "kill",
        "lose",
        "outage",
        "pause",
        "refuse",
        "refuse commits",
        "time out",
    }
)
"""After these, messages may come again that were handled and not committed."""
SLOW: Final[frozenset[Kind]] = frozenset({"slow"})
"""After these, too: who gives a partition up may wait for a handler in vain."""
MOVING: Final[frozenset[Kind]] = frozenset({"revoke", "start", "stop"})
"""After these, only where every handler may take longer than it is waited for."""
OVERTAKING: Final[frozenset[Kind]] = frozenset({"doubt", "hold", "lose", "outage", "pause"})
"""After these, what was sent earlier may be stored later, be it by who is no owner any more."""
UNDELIVERED: Final[frozenset[Kind]] = frozenset({"doubt", "hold", "outage", "refuse", "time out"})
"""After these, what is known to be finished above a committed offset may be given up."""
ENDINGS: Final = 3
"""A message that may have ended so many owners may be given up."""

ENDS: Final = "everything is done in the end"
ENDS_WELL: Final = "a run comes to its end"


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that does not hold, and where."""

    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


def broken(history: History) -> list[Broken]:
    """Every promise that does not hold, and where; of a run that was cut short no other one."""
    if history.raised is not None:
        return [Broken(ENDS_WELL, history.raised)]
    found = [
        Broken(promise, f"{life.name}: {text}")
        for life in lives_of(history)
        for promise, texts in _broken_by(life).items()
        for text in texts
    ]
    if history.left is not None:
        found.append(Broken(ENDS, history.left))
    return found


def _broken_by(life: Life) -> Mapping[str, Sequence[str]]:
    return {promise: [*breaches(life)] for promise, breaches in PROMISES.items()}


def _lost(life: Life) -> Iterator[str]:
    """Every message has all of its results in the end, or is a dead letter, or was skipped."""
    ends, tiers = life.history.ends, len(life.pipeline.retry.topics)
    for place in life.inputs:
        if not life.is_finished(place, inf, ends, tiers):
            yield f"{_at(place)} has neither {life.wanted(place)} nor a dead letter"


def _uncommitted(life: Life) -> Iterator[str]:
    """In the end everything is committed that there is to read."""
    for source in life.sources:
        end, last = life.history.ends[source], life.last_commit(source)
        offset = 0 if last is None else last.commit.offset
        if offset != end:
            yield f"{source} is committed at {offset}, and ends at {end}"
    if life.failed is not None:
        yield life.failed


def _early(life: Life) -> Iterator[str]:
    """Whatever a commit says is finished is so by then."""
    known: defaultdict[object, set[int]] = defaultdict(set)
    starts: Counter[object] = Counter()
    for index, one, above in life.commits:
        if above is None:
            yield f"{one.source} is committed with {one.metadata!r}"
            continue
        seen, tier = known[one.source], life.tier(one.source) + 1
        for first, end in [(starts[one.source], one.offset), *above]:
            for offset, place, _ in life.between(one.source, first, end):
                if offset in seen:
                    continue
                seen.add(offset)
                if not life.is_finished(place, index, one.ends, tier):
                    yield (
                        f"{one.source} was committed at {one.offset} at {one.at:.3f}s, "
                        f"and {_at(place)} was not finished"
                    )
        starts[one.source] = one.offset


def _backwards(life: Life) -> Iterator[str]:
    """No commit goes back."""
    offsets: Counter[object] = Counter()
    for _, one, _ in life.commits:
        if one.offset < offsets[one.source]:
            yield f"{one.source} was committed at {one.offset} after {offsets[one.source]}"
        offsets[one.source] = one.offset


def _again(life: Life) -> Iterator[str]:
    """A message is handled again only where it is to be explained, and never once it is committed.

    Not by an owner: who is none any more may be at it still.
    """
    disturbed, undelivered = life.first(_disturbing(life)), life.first(UNDELIVERED)
    for index, one in life.begun:
        if not one.is_owner:
            continue
        last = life.last_commit(one.source, index)
        if last is not None and one.offset < last.commit.offset:
            yield f"{_at(one.place)} was handled again, though it was committed, at {one.at:.3f}s"
        elif index < undelivered and last is not None and last.has_above(one.offset):
            yield f"{_at(one.place)} was handled again, though it was known to be finished"
        elif index < disturbed and life.was_handled(one.place, index):
            yield f"{_at(one.place)} was handled twice, and nothing had gone wrong"


def _disturbing(life: Life) -> frozenset[Kind]:
    """After what messages may come again: who gives a partition up commits what is finished."""
    return DISTURBING | SLOW if life.is_waited_for else DISTURBING | SLOW | MOVING


def _twice(life: Life) -> Iterator[str]:
    """In transactions each result is there once, or one dead letter."""
    if not life.is_exact:
        return
    for place, copies in life.results.items():
        for number, found in copies.items():
            if len(found) > 1:
                yield f"result {number} of {_at(place)} is there {len(found)} times"
        if place in life.letters:
            yield f"{_at(place)} has results and a dead letter"
    for place, letters in life.letters.items():
        if len(letters) > 1:
            yield f"{_at(place)} has {len(letters)} dead letters"


def _repeated(life: Life) -> Iterator[str]:
    """What a handler has returned once is there once, and a dead letter for each time it is due."""
    for place, number in life.repeated:
        yield f"result {number} of {_at(place)} is there again, though it was returned once"
    disturbed = life.first(_disturbing(life)) < inf
    for place, letters in life.letters.items():
        for reason, times in Counter(reason for reason, _ in letters).items():
            most = _most_letters(life, place, reason) if disturbed else 1
            if times > most:
                yield f"{_at(place)} has {times} dead letters, {reason}, {most:g} at most"


def _most_letters(life: Life, place: Place, reason: str | None) -> float:
    """How often a message may be a dead letter for a reason; each time a handler had it again."""
    match reason:
        case "handler_error" | "rejected":
            return life.times_raised(place)
        case "unencodable":
            return life.times_handled(place) - 1  # the first time its record was refused
    return inf


def _unexplained(life: Life) -> Iterator[str]:
    """A message is a dead letter only for a reason that the run has."""
    for place, letters in life.letters.items():
        for reason, _ in letters:
            if not _has_cause(life, place, reason):
                yield f"{_at(place)} is a dead letter, {reason}, and nothing was wrong with it"


def _has_cause(life: Life, place: Place, reason: str | None) -> bool:
    match reason:
        case "handler_error" | "rejected":
            return life.times_raised(place) > 0
        case "unencodable":
            return life.count("refuse") > 0
        case "undecodable" | "too_large" | "timeout":
            return True  # what the handlers of a spec are given may be so
        case "crash":
            return sum(map(life.count, DISTURBING)) >= ENDINGS
    return False


def _overtaken(life: Life) -> Iterator[str]:
    """Messages of a lane are handled one after the other."""
    for lane in life.lanes:
        latest, before = -inf, lane[0]
        for place in lane:
            settled = life.settled(place)
            begun = settled if life.pipeline.batch else life.first_begun(place)
            if begun < latest:
                yield f"{_at(place)} was handled before {_at(before)} was through"
            if settled > latest:
                latest, before = settled, place


def _misplaced(life: Life) -> Iterator[str]:
    """The last results of a lane are in the order of its messages, in each partition."""
    if life.first(OVERTAKING) < inf and not life.is_exact:
        return
    for lane in life.lanes:
        last: dict[object, tuple[int, Place]] = {}
        for place in filter(life.has_comparable_results, lane):
            for source, offset in life.last_results(place):
                before = last.get(source)
                if before is not None and before[1] != place and offset < before[0]:
                    yield f"the result of {_at(place)} lies before that of {_at(before[1])}"
                last[source] = offset, place


def _overfull(life: Life) -> Iterator[str]:
    """No more messages are held than `in_flight` says, but one of each partition."""
    limit = life.pipeline.in_flight.messages + len(life.sources)
    for one in life.held:
        if one.messages > limit:
            yield f"{one.process} has held {one.messages} messages, {limit} at most"


def _at(place: Place) -> str:
    topic, partition, offset = place
    return f"{topic}[{partition}]@{offset}"


PROMISES: Final[Mapping[str, Callable[[Life], Iterator[str]]]] = {
    "nothing is lost": _lost,
    "a commit covers what is finished": _early,
    "commits never go back": _backwards,
    "what is committed is not handled again": _again,
    "nothing is sent twice": _repeated,
    "exactly once": _twice,
    "a dead letter has a reason": _unexplained,
    "lanes keep their order": _overtaken,
    "results keep their order": _misplaced,
    "memory is bounded": _overfull,
    ENDS: _uncommitted,
}
