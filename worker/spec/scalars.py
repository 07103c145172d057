"""Plain scalars by YAML 1.2's core schema: `no`, `1_000` and dates are texts, `012` is twelve."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_CORE: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = tuple(
    (re.compile(pattern), convert)
    for pattern, convert in (
        (r"null|Null|NULL|~|", lambda _: None),
        (r"true|True|TRUE", lambda _: True),
        (r"false|False|FALSE", lambda _: False),
        (r"[-+]?[0-9]{1,400}", int),
        (r"0o[0-7]{1,400}", lambda text: int(text, 0)),
        (r"0x[0-9a-fA-F]{1,400}", lambda text: int(text, 0)),
        (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
        (r"[-+]?\.(inf|Inf|INF)", lambda text: float(text.replace(".", ""))),
        (r"\.(nan|NaN|NAN)", lambda _: float("nan")),
    )
)
"""YAML 1.2.2 section 10.3.2, in the order that they are tried; no number is without bounds."""


def core(text: str) -> Any:
    """The value of a plain scalar."""
    return next(
        (convert(text) for pattern, convert in _CORE if pattern.fullmatch(text)),
        text,
    )
