"""One process, whose pipelines make way for one that has to be alone at work."""

from __future__ import annotations

from collections import deque
from secrets import token_hex
from typing import Final


class Turn:
    """What a pipeline asks for that has to be alone; those without work say so here."""

    def __init__(self, member: object) -> None:
        self.member = member
        self.quiet: set[object] = set()


class Floor:
    """Who may give messages to handlers: every pipeline of the process, or the first that asked.

    Each pipeline says by itself that it has nothing at work, in the thread that leads it: so there
    is no lock.
    """

    def __init__(self, process: str | None = None) -> None:
        self.process: Final = process or token_hex(4)
        """The name of this process; no other has it, nor will this one when it starts again."""
        self._members: set[object] = set()
        self.turns: Final[deque[Turn]] = deque()
        """Who has asked to be alone; the first is next."""

    def join(self, member: object) -> None:
        """Take part with handlers in this process."""
        self._members.add(member)

    def leave(self, member: object) -> None:
        """Take part no more: nothing is at work."""
        self._members.discard(member)

    def ask(self, member: object) -> Turn:
        """Ask to be alone."""
        turn = Turn(member)
        self.turns.append(turn)
        return turn

    def give_up(self, turn: Turn) -> None:
        """Let others go on."""
        self.turns.remove(turn)

    def is_alone(self, turn: Turn) -> bool:
        """Whether nothing is at work for anybody else, and stays so until it is given up."""
        return self._first is turn and self._members <= turn.quiet | {turn.member}

    def may_work(self, member: object, *, idle: bool) -> bool:
        """Whether a member may give messages to handlers; `idle` if it has none there."""
        first = self._first
        if first is None or first.member is member:
            return True
        if idle:
            first.quiet.add(member)
        return False

    @property
    def _first(self) -> Turn | None:
        try:
            return self.turns[0]
        except IndexError:
            return None
