"""Whether somebody sits at the other end of a stream."""

from __future__ import annotations

from typing import TextIO


def is_terminal(stream: TextIO | None) -> bool:
    """Whether there is a stream, and it is a terminal; `<&-` and `>&-` leave none."""
    return stream is not None and stream.isatty()
