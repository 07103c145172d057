"""A file's values, each with the place where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from worker.types import Problem

KeyPath = tuple[str | int, ...]

LONGEST_TEXT: Final = 400
LONGEST_KEY: Final = 100
SHORTEST_SECRET: Final = 4
"""A shorter one is found in any text, so that only its quoted form is struck out."""


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Tree:
    """The values of a file, where each key and item stands, and what is wrong already."""

    file: str
    value: Any = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    faulty: set[KeyPath] = field(default_factory=set)
    """Values that could not be interpolated, so that nothing more is to be said of them."""
    secrets: dict[KeyPath, list[str]] = field(default_factory=dict)
    """What came from files by `${file:...}`; it is never shown."""

    def deepest(self, path: KeyPath) -> KeyPath:
        """The path of a key, or of the nearest one above it that the file has."""
        while path and path not in self.places:
            path = path[:-1]
        return path

    def at(self, path: KeyPath) -> Any:
        """The value of a path that the file has."""
        value = self.value
        for part in path:
            value = value[part]
        return value

    def holds_secret(self, path: KeyPath) -> bool:
        """Whether what stands at a path, or inside of it, came from a secret file."""
        return any(secret[: len(path)] == path for secret in self.secrets)

    def contents(self) -> Iterator[str]:
        """What came from secret files, wherever it went."""
        return chain.from_iterable(self.secrets.values())

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at a key; what came from secret files is struck out of the text."""
        place = self.places.get(self.deepest(path), Place(1, 1))
        return self.problem_at(place, path, text)

    def problem_at(self, place: Place, path: KeyPath, text: str) -> Problem:
        """A mistake at a place that is not that of its key."""
        for secret in self.contents():
            text = text.replace(repr(secret), "***")
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***").replace(repr(secret)[1:-1], "***")
        return Problem(
            self.file, place.line, place.column, dotted(path), printable(text, LONGEST_TEXT)
        )


def dotted(path: KeyPath) -> str:
    """A path as it is shown: `pipelines.delays.from[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + printable(part or "''", LONGEST_KEY)
    return text or "(file)"


def printable(text: str, longest: int) -> str:
    """A text in one line, without control characters and not longer than it can be read."""
    short = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in short)
