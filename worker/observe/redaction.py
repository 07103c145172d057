"""Secrets kept out of what is shown."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

HIDDEN: Final = "***"
SHORTEST: Final = 4
"""Characters that a secret has at least: hiding a shorter one would hide half of all words."""

_LOOKS_SECRET: Final = re.compile(
    r"""(?P<before>
        ://[^\s/:@]*:(?=[^\s/@]+@)                              # the password of an address
      | \b(?:bearer|basic)\s+(?=[\w.~+/=-]{8})                  # what a request is let in with
      | [\w.-]*(?:password|passwd|secret|api[_.-]?key|token)["']?\s*=\s*["']?
    )
    (?P<secret>[^\s"',;&@]+)""",
    re.IGNORECASE | re.VERBOSE,
)


class Redaction:
    """Hides secrets in a text: those that are known, and what looks like one."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        known = sorted({one for one in secrets if len(one) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _LOOKS_SECRET.sub(rf"\g<before>{HIDDEN}", text)


NOTHING_KNOWN: Final = Redaction()
