"""Secrets kept out of what is shown."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

HIDDEN: Final = "***"
SHORTEST: Final = 4
"""Characters that a secret has at least: hiding a shorter one would hide half of all words."""

_NAME: Final = (
    r"(?:password|passwd|passphrase|\bpwd|secret|token|credentials?"
    r"|(?:api|access|private|secret)[_.-]?key)"
)
_NAMED: Final = _NAME + r"\\*[\"']?\s*(?::|=>?+)\s*"
_LOOKS_SECRET: Final = tuple(
    re.compile(f"(?P<before>{before}){secret}", re.IGNORECASE | re.MULTILINE)
    for before, secret in (
        (r"://[^\s/:@]*:", r"[^\s/@]+(?=@)"),  # the password of an address
        (r"\b(?:bearer|basic)\s+", r"[\w.~+/=-]{8,}"),  # what a request is let in with
        (_NAMED + r"(?P<quote>\\*[\"'])", r"(?:(?!(?P=quote))(?:\\.|.))+"),
        (_NAMED + r"\[", r"[^\[\]{}]+(?=\])"),  # several of a name, as of a query
        (r"\bpassword\s+(?P<quote>\\*[\"'])", r"(?:(?!(?P=quote))(?:\\.|.))+"),  # of SQL
        (
            r"(?<![\w-])--[\w-]{0,64}?" + _NAME + r"\s+",
            r"[^\s\"'-][^\s]*",
        ),  # an option of a command
        (r"(?-i:\b[A-Z_]*PASSWORD)\s+", r"[^\s\"'=:]+"),
        (_NAMED, r"(?![\[{])(?:[^\s\"',;&@\\]|,(?!\s|[\w.-]+=))+"),
    )
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
        for looks_secret in _LOOKS_SECRET:
            text = looks_secret.sub(rf"\g<before>{HIDDEN}", text)
        return text


NOTHING_KNOWN: Final = Redaction()
