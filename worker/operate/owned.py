"""Files with payloads, for their owner alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A new file, in the place of one that is there when the block ends well, and else gone."""
    opened, part = _beside(file)
    try:
        with opened:
            yield opened
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def replaced(file: Path) -> BinaryIO:
    """A new file, at once in the place of one or of a link; a pipe or a device is written to."""
    if file.exists() and not file.is_file():
        return file.open("wb")
    opened, part = _beside(file)
    part.replace(file)
    return opened


def _beside(file: Path) -> tuple[BinaryIO, Path]:
    number, name = mkstemp(prefix=f"{file.name}.", dir=file.parent)
    return open(number, "wb"), Path(name)  # noqa: PTH123 - it is open already
