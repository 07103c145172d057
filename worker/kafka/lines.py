"""The lines of a file or a stream, packed or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

from worker.errors import WorkerError

_GZIP: Final = b"\x1f\x8b"


class Unreadable(WorkerError):
    """A file could not be read, or not to its end."""


def lines_of(file: BufferedReader, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, numbered and without their ends; raises `Unreadable`.

    Gzip is known by its first bytes.
    """
    try:
        packed = file.peek(len(_GZIP)).startswith(_GZIP)
        unpacked = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
        for number, line in enumerate(unpacked, 1):
            content = line.rstrip(b"\r\n")
            if content:
                yield number, content
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{name} cannot be read: {error}") from error


def lines_in(path: Path) -> Iterator[tuple[int, bytes]]:
    """The same of the file with this path."""
    try:
        opened = path.open("rb")
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from error
    with opened:
        yield from lines_of(opened, str(path))
