"""Patterns of topics: what they may hold, and which topics they match.

Three engines match them: the client's (POSIX) and the brokers' (RE2/J, in KIP-848), and Python's
here. So only what means the same in all is legal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

INTERNAL: Final = "__"
"""Topics of Kafka itself begin so; no pattern matches them."""

_PIECES: Final = re.compile(
    r"""
    (?P<look>\(\?<?[=!])
  | (?P<back>\\[1-9]|\(\?P=)
  | (?P<group>\(\?)
  | (?P<letter>\\[A-Za-z0-9])
  | (?P<escape>\\.)
  | (?P<set>\[\^?\]?[^\]]*\])
  | (?P<twice>[*+?}][*+?{])
  | (?P<count>\{(?!\d{1,3}(,\d{0,3})?\}))
    """,
    re.VERBOSE,
)
_ILLEGAL: Final = {
    "look": "look-around; brokers do not know it",
    "back": "a reference back to a group; brokers do not know it",
    "group": "a group with `(?`; legal is `(...)`",
    "letter": "`{}`, which not all know; write a set such as [0-9]",
    "twice": "`{}`, a repetition of a repetition",
    "count": "a `{{` that is no count; legal are such as {{2}} and {{2,3}}",
}

_ATOM: Final = re.compile(r"\\.|\[\^?\]?[^\]]*\]")
_INNERMOST: Final = re.compile(r"\(([^()]*)\)([*+{]?)")
_BRANCHING: Final = frozenset("*+?{|")


def is_pattern(source: str) -> bool:
    """Whether what is read is a pattern, not a name."""
    return source.startswith("^")


def flaw(pattern: str) -> str | None:
    """Why a pattern is not legal; None when it is."""
    for piece in _PIECES.finditer(pattern):
        kind = piece.lastgroup
        if kind in _ILLEGAL:
            return "holds " + _ILLEGAL[kind].format(piece.group())
        if kind == "set" and ("\\" in piece.group() or "[:" in piece.group()):
            return f"holds {piece.group()}; legal in a set are letters, digits, '.', '_', '-'"
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is no regular expression: {error}"
    if _may_take_for_ever(pattern):
        return (
            "repeats a group with a repetition, `?` or `|` in it, which may take for ever to match"
        )
    return None


def _may_take_for_ever(pattern: str) -> bool:
    """Whether the steps to match a name may double with each of its characters."""
    rest = _ATOM.sub("x", pattern)
    while (group := _INNERMOST.search(rest)) is not None:
        inside, repeated = group.groups()
        if repeated and not _BRANCHING.isdisjoint(inside):
            return True
        rest = rest[: group.start()] + inside + repeated + rest[group.end() :]
    return False


def whole(pattern: str) -> str:
    """The pattern so that it matches whole names only, wherever it is matched."""
    return f"^({pattern})$"


def reads(sources: Iterable[str], topic: str) -> bool:
    """Whether a topic is one of these names, or one of these patterns matches it."""
    return any(
        _matches(source, topic) if is_pattern(source) else source == topic for source in sources
    )


def unmatched(sources: Iterable[str], topics: Sequence[str]) -> list[str]:
    """Patterns that none of the topics matches."""
    return [
        source
        for source in sources
        if is_pattern(source) and not any(_matches(source, topic) for topic in topics)
    ]


def _matches(pattern: str, topic: str) -> bool:
    return not topic.startswith(INTERNAL) and re.fullmatch(pattern, topic) is not None
