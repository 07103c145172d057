"""Handlers that end their process, hang, or look at where they are; run by hands, not by pytest."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from worker import Message, Record, Retry, handler, resource


def _segfault() -> None:
    ctypes.string_at(0)


def _fork_and_exit() -> None:
    """Leave a process behind that holds every pipe open, and say which."""
    forked = os.fork()
    if forked == 0:
        time.sleep(100)
    with Path(os.environ["FORKED"]).open("a") as lines:
        lines.write(f"{forked}\n")
    os._exit(9)


def _hang() -> None:
    threading.Event().wait()


def _fail() -> None:
    raise OSError("for now")


def _put_off() -> None:
    raise Retry(delay=0.01)


def _signal() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGHUP)


WAYS: Final[Mapping[str, Callable[[], object]]] = {
    "segfault": _segfault,
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "fork": _fork_and_exit,
    "hang": _hang,
    "fail": _fail,
    "put off": _put_off,
    "signal": _signal,
}


@handler
def risky(payload: dict[str, Any]) -> int:
    """Give the number back, or do what else is asked for, with `once` only the first time."""
    once = payload.get("once")
    if "do" in payload and not (once is not None and Path(once).exists()):
        if once is not None:
            Path(once).touch()
        WAYS[payload["do"]]()
    return int(payload["n"])


@handler(batch=5)
def risky_batch(payloads: list[dict[str, Any]]) -> list[int]:
    """Do the same with all of a batch."""
    return [risky(payload) for payload in payloads]


@handler
def here(_payload: Any) -> int:
    """The number of the process."""
    return os.getpid()


@handler
def blocked(_payload: Any) -> list[Any]:
    """The signals that a program would not get that was started from here."""
    return [[int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])]]


class Name(StrEnum):
    """A text of a class that no other process has to know."""

    WIDE = "wide"


@handler
def place(payload: int, message: Message) -> Record:
    """A record for the partition that is asked for, with what the message carries."""
    headers = [(str(name), value) for name, value in message.headers]
    return Record(payload, topic=Name.WIDE, partition=payload, headers=headers)


@handler
def large(payload: int) -> str:
    """A text of so many bytes."""
    return "x" * payload


@resource
def diary() -> Iterator[Path]:
    """A file in which each set-up and tear-down is written."""
    file = Path(os.environ["DIARY"])
    with file.open("a") as lines:
        lines.write(f"up {os.getpid()}\n")
    yield file
    with file.open("a") as lines:
        lines.write(f"down {os.getpid()}\n")


@handler
def with_diary(payload: int, diary: Path) -> int:
    """Give the payload back."""
    return payload


@resource
def refused() -> Iterator[None]:
    """Fail."""
    raise OSError("no network")
    yield


@handler
def with_refused(_payload: int, refused: None) -> None:
    """Never called."""
