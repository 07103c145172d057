"""What a PromQL expression names: a tokenizer that is enough for the queries that ship."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<range>\[[^\]]*\])
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<other>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
    """,
    re.VERBOSE,
)
FUNCTIONS = {"rate", "increase", "histogram_quantile", "label_values"}
AGGREGATIONS = {"sum", "max", "min", "avg", "count"}
GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
OPERATORS = {"and", "or", "unless", "bool"}


class Named(NamedTuple):
    """The metrics of an expression, each with the labels that it is chosen by, and groupings."""

    metrics: dict[str, set[str]]
    grouped_by: set[str]


def named_in(expression: str) -> Named:
    """Raises `ValueError` for what it does not know."""
    metrics: dict[str, set[str]] = {}
    grouped: set[str] = set()
    words = list(_words(expression))
    place = 0
    while place < len(words):
        word = words[place]
        if word in GROUPINGS:
            end = words.index(")", place)
            grouped |= {one for one in words[place + 2 : end] if one != ","}
            place = end
        elif re.match(r"[a-zA-Z_:]", word) and word not in FUNCTIONS | AGGREGATIONS | OPERATORS:
            labels = metrics.setdefault(word, set())
            if words[place + 1 : place + 2] == ["{"]:
                end = words.index("}", place)
                labels |= {
                    one
                    for one, sign in zip(words[place:end], words[place + 1 : end], strict=False)
                    if sign in {"=", "=~", "!=", "!~"}
                }
                place = end
        place += 1
    return Named(metrics, grouped)


def _words(expression: str) -> Iterator[str]:
    at = 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"what is this: {expression[at:]}")
        at = match.end()
        if match.lastgroup not in {"space", "range"}:
            yield match.group()
