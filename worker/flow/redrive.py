"""Which dead letters are moved, where each goes, and as what record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from worker.flow.deadletter import PREFIX
from worker.flow.ledger import Fate, Ledger
from worker.flow.letters import Letter, read
from worker.settings.topics import redrive_topic
from worker.types import Encoded, Message

ORIGIN: Final = "origin"
"""In place of a topic: the one where the message was read that could not be handled."""

REDRIVES: Final = PREFIX + "redrives"


@dataclass(frozen=True, slots=True)
class Move:
    """What is to become of a dead letter, and the topic that it goes to, if any."""

    fate: Fate
    topic: str | None = None
    partition: int | None = None
    """Where in the topic; None leaves it to the key."""


@dataclass(frozen=True, slots=True)
class Stay:
    """The dead letter stays where it is."""

    why: str


Decide = Callable[[Letter], Move | Stay]


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition of the dead-letter topic; the last one belongs to it."""

    partition: int
    first: int
    last: int

    def __contains__(self, place: tuple[int, int]) -> bool:
        return place[0] == self.partition and self.first <= place[1] <= self.last


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; of each kind one has to fit, of an empty kind all do."""

    reasons: Collection[str] = ()
    errors: Collection[str] = ()
    """Classes of exceptions, with their packages or without."""
    handlers: Collection[str] = ()
    keys: Collection[bytes] = ()
    spans: Collection[Span] = ()
    since: int | None = None
    """When they became dead letters at the earliest, in milliseconds since 1970."""
    until: int | None = None
    """When they were dead letters already."""

    def takes(self, letter: Letter) -> bool:
        """Whether a dead letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.errors or any(_is(letter.error, name) for name in self.errors))
            and (not self.handlers or letter.handler in self.handlers)
            and (not self.keys or letter.message.key in self.keys)
            and (not self.spans or any(letter.place in span for span in self.spans))
            and (self.since is None or letter.message.timestamp >= self.since)
            and (self.until is None or letter.message.timestamp < self.until)
        )


def _is(error: str | None, name: str) -> bool:
    return error is not None and (error == name or error.endswith(("." + name, "$" + name)))


@dataclass(frozen=True, slots=True)
class Redrive:
    """Dead letters are to be handled again; one that was redriven `limit` times is parked.

    Those that are parked already, where `parking` is None, then stay.
    Without `to` each goes to the topic for it of its group, which has to be one of `groups`; else
    to that topic, or to its origin. `allowed` says to which topics any may go.
    """

    groups: Collection[str]
    allowed: Callable[[str], bool]
    parking: str | None
    limit: int
    to: str | None = None

    def __call__(self, letter: Letter) -> Move | Stay:
        """What is to become of a dead letter."""
        if letter.truncated is not None:
            return Stay(f"cut off when it was written ({letter.truncated}), so the rest is no use")
        if letter.lacks_its_payload:
            return Stay("its payload was kept out of it (dlq.redacted), so there is none to handle")
        if letter.redrives >= self.limit:
            return self._beyond_the_limit()
        if self.to is None:
            return self._to_group(letter.group)
        if self.to == ORIGIN:
            return self._to_origin(letter)
        return Move("redriven", self.to)

    def _beyond_the_limit(self) -> Move | Stay:
        if self.parking is not None:
            return Move("parked", self.parking)
        return Stay(f"redriven {self.limit} times already; --max-redrives lets them go once more")

    def _to_group(self, group: str | None) -> Move | Stay:
        if group in self.groups:
            return Move("redriven", redrive_topic(str(group)))
        whose = "no group is named in it" if group is None else f"no pipeline has its group {group}"
        return Stay(f"{whose}; name a topic with --to")

    def _to_origin(self, letter: Letter) -> Move | Stay:
        if letter.topic is None:
            return Stay("its origin is not named in it; name a topic with --to")
        if not self.allowed(letter.topic):
            return Stay(f"the spec does not name its origin {letter.topic}; --allow allows it")
        return Move("redriven", letter.topic, letter.partition)


def park(parking: str) -> Decide:
    """Every dead letter goes to the parking topic as it is."""
    return lambda _letter: Move("parked", parking)


def drop() -> Decide:
    """No dead letter goes anywhere; each is to be forgotten."""
    return lambda _letter: Move("dropped")


def record_of(letter: Letter, move: Move) -> Encoded | None:
    """The record that a move writes, with the key, the bytes and the headers of the dead letter.

    When it is to be handled again, `dlq.redrives` counts one more; the other headers stay, so that
    its way can be followed. Its time is left to the client: dated back, retention would delete it.
    """
    if move.topic is None:
        return None
    message = letter.message
    headers: list[tuple[str, str | bytes | None]] = list(message.headers)
    if move.fate == "redriven":
        headers = [header for header in headers if header[0] != REDRIVES]
        headers.append((REDRIVES, b"%d" % (letter.redrives + 1)))
    return Encoded(move.topic, message.value, message.key, headers, move.partition)


def choices(
    messages: Iterable[Message], ledger: Ledger, selection: Selection, decide: Decide
) -> Iterator[tuple[Letter, Move | Stay]]:
    """The dead letters that are meant and still wait, each with what is to become of it."""
    for message in messages:
        if (message.partition, message.offset) not in ledger.entries:
            letter = read(message)
            if selection.takes(letter):
                yield letter, decide(letter)
