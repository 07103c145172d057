"""Secrets kept out of what is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from typing import Any, Final
from urllib.parse import quote, quote_plus

from worker.flow.health import PipelineState, Snapshot

HIDDEN: Final = "***"
SHORTEST: Final = 4
"""Characters that a secret has at least: hiding a shorter one would hide half of all words."""

_ENCODED: Final = re.compile(r"%[0-9A-F]{2}")

_NAME: Final = (
    r"(?:password|passwd|passphrase|(?<![^\W_])(?:pass|pwd)|secret|token|credentials?"
    r"|(?:api|access|private|secret)[_.-]?key)"
)
_NAMED: Final = _NAME + r"\\*[\"']?\s*(?::|=>?+)\s*"
_QUOTE: Final = r"(?P<quote>\\*[\"'])"
_QUOTED: Final = r"(?:(?!(?P=quote))(?:\\.|.))+"
"""What stands between two such quotes."""
_LOOKS_SECRET: Final = tuple(
    re.compile(f"(?P<before>{before}){secret}", re.IGNORECASE | re.MULTILINE)
    for before, secret in (
        (r"://[^\s/:@]*:", r"[^\s/@]+(?=@)"),  # the password of an address
        (r"\b(?:bearer|basic)\s+", r"[\w.~+/=-]{8,}"),  # what a request is let in with
        (_NAMED + _QUOTE, _QUOTED),
        (_NAMED + r"\[", r"[^\[\]{}]+(?=\])"),  # several of a name, as of a query
        (r"\bpassword\s+" + _QUOTE, _QUOTED),  # of SQL
        (
            r"(?<![\w-])--[\w-]{0,64}?" + _NAME + r"\s+",
            r"[^\s\"'-][^\s]*",
        ),  # an option of a command
        (r"(?-i:\b[A-Z_]*PASSWORD)\s+", r"[^\s\"'=:]+"),
        (r"(?-i:-----BEGIN [A-Z ]*PRIVATE KEY-----)", r"(?:[^-]|-(?!----))+"),
        (r"(?-i:(?<![\w-])eyJ)", r"[\w-]+(?:\.[\w-]*){2,}"),  # a token of JSON
        (r"(?-i:\bA[KS]IA)", r"(?-i:[A-Z0-9]{16}\b)"),  # a key of AWS
        (r"\bcookie\\*[\"']?\s*[:,]\s*b?" + _QUOTE, _QUOTED),
        (r"\bcookie\s*:\s*", r"(?!b?\\*[\"'])(?:(?!\\[rn])[^\r\n])+"),  # to the end of its line
        (_NAMED, r"(?![\[{])(?:[^\s\"',;&@\\]|,(?!\s|[\w.-]+=))+"),
    )
)

_HINTS: Final = (
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "key",
    "bearer",
    "basic",
    "cookie",
    "eyj",
    "akia",
    "asia",
    "://",
)
"""One of these is in whatever looks like a secret; most texts have none, and take no time."""


class Redaction:
    """Hides secrets in a text: those that are known, and what looks like one."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        plain = [one for one in secrets if len(one) >= SHORTEST]
        written = {form for one in plain for text in _written(one) for form in _written(text)}
        known = sorted(written, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._longest = len(known[0]) if known else 0

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = self.of_known(text)
        folded = text.casefold()
        if not any(hint in folded for hint in _HINTS):
            return text
        for looks_secret in _LOOKS_SECRET:
            text = looks_secret.sub(rf"\g<before>{HIDDEN}", text)
        return text

    def of_known(self, text: str) -> str:
        """The text without those that are known, where words of ours stand before a colon."""
        return text if self._known is None else self._known.sub(HIDDEN, text)

    def beginning(self, text: str, length: int) -> str:
        """Its first characters without those that are known, nor a part of one that is cut."""
        if self._known is None:
            return text[:length]
        shown, end = "", 0
        for found in self._known.finditer(text, 0, length + self._longest):
            if found.start() >= length:
                break
            shown += text[end : found.start()] + HIDDEN
            end = found.end()
        return shown + text[end:length]


def _written(text: str) -> Iterator[str]:
    """A text as it is, and as it stands within a literal of Python's, JSON or an address."""
    yield text
    yield repr(text)[1:-1]
    yield repr(f'"{text}')[2:-1]  # beside the other kind of quotes
    yield repr(text.encode(errors="surrogatepass"))[2:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    for percent_encoded in (quote, quote_plus):
        for safe in ("", "/"):
            encoded = percent_encoded(text, safe, errors="surrogatepass")
            yield encoded
            yield _ENCODED.sub(lambda one: one.group().lower(), encoded)


NOTHING_KNOWN: Final = Redaction()

_TEXTS: Final = tuple(one.name for one in fields(PipelineState) if one.type == "str | None")
"""What a state says in words, be it of clients or of brokers."""


def shown(snapshot: Snapshot, redacted: Redaction) -> Snapshot:
    """The snapshot as everybody may see it: what it says in words without secrets."""
    return replace(
        snapshot,
        starting=None if snapshot.starting is None else redacted(snapshot.starting),
        pipelines=tuple(_shown(pipeline, redacted) for pipeline in snapshot.pipelines),
    )


def _shown(pipeline: PipelineState, redacted: Redaction) -> PipelineState:
    said = {name: text for name in _TEXTS if (text := getattr(pipeline, name)) is not None}
    hidden: Any = {name: redacted(text) for name, text in said.items()}
    return replace(pipeline, **hidden)
