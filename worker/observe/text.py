"""Text of others made fit for a terminal and a log."""

from __future__ import annotations

import re
from typing import Final

CONTROL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, changes of the writing direction, and halves of surrogate pairs."""


def escaped(text: str) -> str:
    r"""The text in one line, with control characters as escapes such as `\n` and `\x1b`."""
    return CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)
