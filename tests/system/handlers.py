"""Handlers of the system tests; run by worker processes, not by pytest."""

import asyncio
import ctypes
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from worker import Record, handler, resource


@handler
def echo(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back."""
    return payload


@handler
def echo_slowly(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back after a millisecond of work."""
    time.sleep(0.001)
    return payload


@handler
def wait(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back after as many seconds as it says."""
    time.sleep(payload.get("seconds", 0))
    return payload


@handler
def wait_for_file(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back once the file that it names is there."""
    while "file" in payload and not Path(payload["file"]).exists():
        time.sleep(0.01)
    return payload


@handler(batch=7)
def echo_batch(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the payloads back."""
    return payloads


@handler
def hang(_payload: dict[str, Any]) -> None:
    """Never come back."""
    threading.Event().wait()


@handler
def refuse(payload: dict[str, Any]) -> None:
    """Fail on every message."""
    raise ValueError(payload)


@handler
def stray(payload: dict[str, Any]) -> dict[str, Any] | Record:
    """Send what is asked for to a partition that no topic has."""
    return Record(payload, partition=99) if payload.get("stray") else payload


@handler
def forward(payload: dict[str, Any]) -> Record:
    """Give the payload to the topic that it names."""
    return Record(payload, topic=payload["topic"])


@resource
async def client() -> AsyncIterator[str]:
    """Yield what needs the loop to be torn down."""
    yield "client"


@handler
async def block(_payload: dict[str, Any], client: str) -> None:
    """Never give the loop back."""
    threading.Event().wait()


_last: dict[int, int] = {}
_busy: set[int] = set()


def _begin(payload: dict[str, Any]) -> None:
    """Fail unless the message is the next of its key, or comes again, and no other is at work."""
    key, number = payload["key"], payload["number"]
    if key in _busy:
        raise RuntimeError(f"two messages of key {key} at a time")
    if number > _last.get(key, number - 1) + 1:
        raise RuntimeError(f"{number} of key {key} comes after {_last[key]}")
    _busy.add(key)


def _end(payload: dict[str, Any]) -> dict[str, Any]:
    _last[payload["key"]] = payload["number"]
    _busy.remove(payload["key"])
    return payload


@handler
async def in_turn(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back, a key's messages one after the other, after a wait of its own."""
    _begin(payload)
    await asyncio.sleep(payload["id"] % 7 / 1000)
    return _end(payload)


@handler
def in_turn_in_threads(payload: dict[str, Any]) -> dict[str, Any]:
    """Do the same in threads; now and then it takes long."""
    _begin(payload)
    time.sleep(0.01 if payload["id"] % 100 == 0 else 0.0002)
    return _end(payload)


@handler
def poisoned(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back unless it is poison, which ends the process."""
    if payload["poison"]:
        ctypes.string_at(0)
    return payload


@handler
def hold(_payload: dict[str, Any]) -> None:
    """Never come back, and never let go of the interpreter."""
    ctypes.PyDLL(None).sleep(600)


@resource
def refused() -> Iterator[None]:
    """Fail."""
    raise OSError("no network")
    yield


@handler
def with_refused(_payload: dict[str, Any], refused: None) -> None:
    """Never be called."""
