"""Messages that end the worker, found out over its restarts.

Who takes a partition over from an owner that has not given it back counts that as a start after a
crash; the count ends as soon as `committable` moves. From the second in a row on, messages that may
have been at work are tried one at a time, each alone in its process and named in the envelope
before. One that is named when its owner ends is a suspect: it comes first with the next owner, who
gives it to a process apart, where there can be one. If that ends, too, the message is given up;
otherwise when a fifth owner has ended while it tried it alone: not earlier, since owners are killed
for other reasons, too, and workers that are started again find the same message first.

So a message that ends the worker costs three restarts, or seven without a process apart, and more
only as long as `committable` moves in between. A single kill changes nothing; many in a row give up
no other message, unless five find the same one alone at work.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from worker.types import Failure

ALONE_FROM: Final = 2
"""Starts in a row after a crash from which on messages are tried alone."""
TRIES: Final = 5
"""Owners that have to end while they try the same message alone before it is given up."""
PATIENCE: Final = 30.0
"""Seconds for which others wait while messages are tried, at first."""
LONGEST: Final = 3_600.0


class Note(NamedTuple):
    """What the envelope of a partition says of its owner and of what earlier ones ended with."""

    owner: str = ""
    """The process that has it; empty when it was given back."""
    starts: int = 0
    """Starts in a row after a crash."""
    suspect: int | None = None
    """The offset of the message that is tried alone, or is to be tried again."""
    tries: int = 0
    """How often the suspect was given to a handler alone; it has come back from none."""
    apart: bool = False
    """Whether the suspect was given to a process apart."""

    @property
    def alone(self) -> bool:
        """Whether messages are tried one at a time."""
        return self.starts >= ALONE_FROM

    @property
    def condemned(self) -> bool:
        """Whether the suspect is given up."""
        return self.tries >= TRIES


def taken_over(note: Note, owner: str) -> Note:
    """What a new owner writes before it handles anything.

    An owner that finds its own name has only lost the partition for a while.
    """
    if note.owner in ("", owner):
        return (without_try(note) if note.owner else note)._replace(owner=owner)
    if note.alone and note.suspect is None:  # it was the turn of another partition
        return Note(owner)
    return note._replace(owner=owner, starts=note.starts + 1)


def given_back(note: Note, *, at_work: bool) -> Note:
    """What an owner writes that gives the partition back; `at_work` if a handler has the suspect.

    What is in doubt stays so: where workers crash, the others give partitions back all the time.
    """
    return (without_try(note) if at_work else note)._replace(owner="")


def tried(note: Note, offset: int) -> Note:
    """What is written before a message is given to a handler alone."""
    if note.suspect != offset:
        note = survived(note)
    return note._replace(suspect=offset, tries=note.tries + 1)


def tried_apart(note: Note) -> Note:
    """What is written before the suspect is given to a process apart."""
    return note._replace(apart=True)


def beside(note: Note, first: int, *, at_work: bool) -> Note:
    """What is written when messages go on that could not be alone for longer, from `first` on.

    It names one in any case: so the next start counts, and has more patience.
    """
    if note.suspect is None:
        return note._replace(suspect=first, tries=0)
    return note._replace(tries=note.tries - at_work)


def survived(note: Note) -> Note:
    """What is written when the suspect is finished."""
    return Note(note.owner, note.starts)


def without_try(note: Note) -> Note:
    """The last try of the suspect says nothing."""
    return note._replace(tries=note.tries - 1) if note.tries > 1 else survived(note)


def passed(note: Note) -> Note:
    """What is written when nothing is in doubt any more."""
    return Note(note.owner)


def moved(note: Note) -> Note:
    """What is written in the commit that moves `committable`; who tries messages alone goes on."""
    return note if note.alone else passed(note)


def patience(starts: int) -> float:
    """Seconds for which others wait; twice as many with each further start."""
    return min(LONGEST, PATIENCE * 2.0 ** min(starts - ALONE_FROM, 10))


def crashed(note: Note) -> Failure:
    """Why a suspect is given up."""
    text = f"the worker has ended {note.tries} times while it handled this message alone"
    return Failure("crash", "", text, harmless=True)
