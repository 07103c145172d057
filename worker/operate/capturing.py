"""Messages kept in a file, without what nobody is to see in it."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, BinaryIO

from worker.errors import WorkerError
from worker.handlers import load
from worker.kafka import arguments
from worker.kafka.written import object_of
from worker.operate.owned import replacing
from worker.serdes import SERDES
from worker.types import Message, Record, SameKey

Redact = Callable[[Message], Record | None]
"""Makes the record that is kept of a message; None keeps nothing of it."""


class NotCaptured(WorkerError):
    """Nothing was written: a function that redacts has failed, or the file cannot be written."""


class NoHook(WorkerError):
    """There is no such function."""


@dataclass(slots=True)
class Captured:
    """How many messages were kept, and how many were left out."""

    kept: int = 0
    left_out: int = 0


def redact_of(name: str, path: Sequence[str]) -> Redact:
    """The function that is called `module:function`; raises `NoHook`."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise NoHook(f"{name!r} is not MODULE:FUNCTION such as tests.privacy:without_names")
    for problem in load([module], [os.getcwd(), *path]):  # noqa: PTH109 - sys.path
        raise NoHook(problem.text)
    known = vars(sys.modules[module])
    found = known.get(function)
    if not callable(found):
        near = difflib.get_close_matches(function, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise NoHook(f"{module} has no function {function!r}{hint}")
    if iscoroutinefunction(found):
        raise NoHook(f"{name} is async; legal is a plain function of one Message")
    redact: Redact = found
    return redact


def capture(
    messages: Iterable[Message | None], file: Path, redact: Redact | None = None
) -> Captured:
    """Write a line for each message; the file is there, or is another one, only if all went well.

    Raises `NotCaptured`.
    """
    done = Captured()
    with _kept(file) as opened:
        for message in filter(None, messages):
            kept = message if redact is None else _redacted(message, redact)
            if kept is None:
                done.left_out += 1
                continue
            opened.write(json.dumps(object_of(kept), ensure_ascii=False).encode() + b"\n")
            done.kept += 1
    return done


@contextmanager
def _kept(file: Path) -> Iterator[BinaryIO]:
    """The file of what is captured."""
    try:
        with replacing(file) as opened:
            yield opened
    except OSError as error:
        raise NotCaptured(f"{file} cannot be written: {error.strerror}") from error


def _redacted(message: Message, redact: Redact) -> Message | None:
    try:
        record = redact(message)
    except Exception as error:
        raise _failed(message, f"it raised {type(error).__name__}: {error}") from error
    try:
        return None if record is None else _made(message, record)
    except (TypeError, ValueError) as error:
        raise _failed(message, str(error)) from error


def _made(message: Message, record: object) -> Message:
    """The record, in the place of its message."""
    if not isinstance(record, Record):
        legal = "a worker.Record, or None to leave the message out"
        raise TypeError(f"it gave {type(record).__name__}, which is not legal; legal is {legal}")
    return Message.of(
        _encoded(record.value),
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key
        if isinstance(record.key, SameKey)
        else arguments.payload("key", record.key),
        headers=arguments.headers(record.headers),
        timestamp=arguments.timestamp(record.timestamp) or message.timestamp,
    )


def _encoded(value: Any) -> bytes | None:
    """Bytes and texts as they are, anything else as JSON."""
    if value is None or isinstance(value, (bytes, str)):
        return arguments.payload("value", value)
    return SERDES["json"].encode(value)


def _failed(message: Message, why: str) -> NotCaptured:
    place = f"{message.topic}/{message.partition}/{message.offset}"
    return NotCaptured(f"nothing is written, since --redact failed at {place}: {why}")
