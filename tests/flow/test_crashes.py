"""Which message ends the worker: what owners of a partition write, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.flow import crashes, envelope
from worker.flow.crashes import Note

NOTES = st.builds(
    Note,
    owner=st.sampled_from(["", "ab12cd34"]),
    starts=st.integers(0, 10**6),
    suspect=st.none() | st.integers(100, 2**40),
    tries=st.integers(0, 9),
    apart=st.booleans(),
).map(lambda note: note if note.suspect is not None else note._replace(tries=0, apart=False))


@given(note=NOTES, finished=st.booleans())
def test_a_note_comes_back_with_the_map_beside_it(note: Note, finished: bool) -> None:  # noqa: FBT001
    ranges = [(105, 2_000)] if finished else []

    written = envelope.encode(100, ranges, note)

    assert envelope.note_of(written, 100) == note
    assert list(envelope.decode(written, 100) or ()) == ranges


@given(st.text(max_size=40))
def test_no_text_is_a_note_that_cannot_be(text: str) -> None:
    note = envelope.note_of("sw1:" + text, 10)

    assert note.starts >= 0
    assert note.suspect is None or note.suspect >= 10


def test_an_owner_that_gives_back_is_not_counted_and_one_that_ends_is() -> None:
    note = crashes.taken_over(Note(), "one")

    given_back = crashes.taken_over(crashes.given_back(note, at_work=False), "two")
    left_behind = crashes.taken_over(note, "two")
    lost_for_a_while = crashes.taken_over(note, "one")

    assert [n.starts for n in (given_back, left_behind, lost_for_a_while)] == [0, 1, 0]


def test_who_was_not_at_work_when_the_owner_ended_is_not_to_blame() -> None:
    tried = crashes.tried(Note("one", 2), 7)

    assert crashes.taken_over(Note("one", 2), "two") == Note("two")
    assert crashes.taken_over(tried, "two") == Note("two", 3, 7, 1)
    assert crashes.tried(tried, 8) == Note("one", 2, 8, 1)


def test_a_try_that_was_broken_off_says_nothing() -> None:
    once = crashes.tried(Note("one", 2), 7)
    twice = crashes.tried(once, 7)

    for note, before in ((once, Note("", 2)), (twice, once._replace(owner=""))):
        assert crashes.given_back(note, at_work=True) == before
    assert crashes.taken_over(once, "one") == Note("one", 2)


def test_a_message_that_was_not_alone_has_to_be_alone_again_with_more_patience() -> None:
    at_work = crashes.beside(crashes.tried(Note("one", 2), 7), 5, at_work=True)
    none_at_work = crashes.beside(Note("one", 2), 5, at_work=False)

    assert (at_work.suspect, at_work.tries) == (7, 0)
    assert (none_at_work.suspect, none_at_work.tries) == (5, 0)
    assert crashes.taken_over(at_work, "two").starts == 3
    assert [crashes.patience(starts) for starts in (2, 3, 4, 99)] == [30, 60, 120, 3_600]


@dataclass
class History:
    """A partition with a message that ends its owner as soon as it is at work.

    Owners handle messages in order, as many between two commits as the history says.
    """

    poison: int
    end: int
    committed: int = 0
    note: Note = field(default_factory=Note)
    given_up: list[int] = field(default_factory=list)
    crashes: int = 0
    numbers: count[int] = field(default_factory=lambda: count(1))
    lives: str | None = None
    """The owner that has lost the partition, and is the next to have it."""

    def own(
        self,
        per_commit: int,
        *,
        kill_at: int | None = None,
        stop_at: int | None = None,
        lose_at: int | None = None,
    ) -> None:
        """Have an owner that is killed, gives back or loses the partition at an offset."""
        name, self.lives = self.lives or f"p{next(self.numbers)}", None
        self.note = crashes.taken_over(self.note, name)
        began = offset = self.committed
        while offset < self.end:
            if self.note.condemned and self.note.suspect == offset:
                self.given_up.append(offset)
                self.note, self.committed = crashes.passed(self.note), offset + 1
            elif self.note.alone:
                self.note, self.committed = crashes.tried(self.note, offset), offset
            if offset == kill_at or (offset == self.poison and offset not in self.given_up):
                self.crashes += offset == self.poison
                return
            if offset == stop_at:
                self.note = crashes.given_back(self.note, at_work=self.note.alone)
                return
            if offset == lose_at:
                self.lives = name
                return
            offset += 1
            if self.note.alone:
                self.note, self.committed = crashes.survived(self.note), offset
            elif (offset - began) % per_commit == 0:
                self.note, self.committed = crashes.passed(self.note), offset
        self.note, self.committed = crashes.given_back(Note(), at_work=False), self.end


@settings(max_examples=1_000)
@given(
    poison=st.integers(0, 9),
    per_commit=st.integers(1, 10),
    ends=st.lists(
        st.tuples(st.sampled_from(["kill_at", "stop_at", "lose_at"]), st.integers(0, 9)),
        max_size=12,
    ),
)
def test_whatever_becomes_of_owners_before_the_message_is_given_up_soon_and_no_other(
    poison: int, per_commit: int, ends: Sequence[tuple[str, int]]
) -> None:
    history = History(poison, 10)
    for how, offset in ends:
        history.own(per_commit, **{how: offset})
    others = [offset for offset in history.given_up if offset != poison]
    repeated = [offset for how, offset in ends if how == "kill_at"]
    assert all(repeated.count(offset) >= crashes.TRIES for offset in others)
    before = history.crashes

    for _ in range(20):
        if poison < history.committed:
            break
        history.own(per_commit)

    assert poison in history.given_up
    assert history.crashes - before <= 2 + crashes.TRIES + 1
    assert [o for o in history.given_up if o not in repeated] in ([], [poison])


@pytest.mark.parametrize("poison", [0, 1, 50])
def test_it_takes_seven_ends_of_owners_that_do_nothing_else(poison: int) -> None:
    history = History(poison, 70)

    for _ in range(8):
        history.own(1_000)

    assert (history.crashes, history.given_up) == (7, [poison])
    assert history.note == Note()
