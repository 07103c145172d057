"""Standard output: what becomes of a command when nobody reads it, or when it cannot be written."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from worker.cli.failures import report
from worker.errors import WorkerError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT: Final = 1


class Unwritable(OSError):
    """Standard output cannot be written; no `BrokenPipeError`, which libraries exit for."""


@contextmanager
def told_if_unwritable() -> Iterator[None]:
    """Standard output that cannot be written ends the block with a message and exit code 1.

    What nobody reads any more is thrown away instead: a command does all of its work, and ends
    with its own code. What the output has no characters for is written as escapes.
    """
    before = sys.stdout
    if isinstance(before, io.TextIOWrapper):  # `>&-` leaves none
        before.reconfigure(errors="backslashreplace")
        if before is sys.__stdout__:
            sys.stdout = _checked(before)
    try:
        yield
    except Unwritable as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)  # for what is flushed last
        sys.exit(report(WorkerError(str(error))))
    finally:
        sys.stdout = before


def is_unread() -> bool:
    """Whether the other end of a pipe is closed."""
    if sys.stdout is None:
        return False
    poll = select.poll()
    poll.register(STANDARD_OUTPUT, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


class _Checked(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes
        except OSError as error:
            raise Unwritable(f"standard output cannot be written: {error.strerror}") from error


def _checked(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream, buffered alike."""
    raw = _Checked(STANDARD_OUTPUT, "wb", closefd=False)
    is_raw = isinstance(stream.buffer, io.RawIOBase)  # as `python -u` makes it
    return io.TextIOWrapper(
        raw if is_raw else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
