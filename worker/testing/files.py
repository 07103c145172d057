"""Real messages out of files, for tests."""

from __future__ import annotations

from pathlib import Path

from worker.kafka.lines import Unreadable, lines_in
from worker.kafka.written import BadLine, message_of
from worker.types import Message


def captured(file: Path | str) -> list[Message]:
    """The messages of a file that `worker capture` has written.

    Raises `Unreadable` with all lines that hold none.
    """
    found: list[Message] = []
    problems: list[str] = []
    for number, line in lines_in(Path(file)):
        try:
            found.append(message_of(line))
        except BadLine as bad:
            problems += [f"{file}:{number}: {problem}" for problem in bad.problems]
    if problems:
        raise Unreadable("\n".join(problems))
    return found
