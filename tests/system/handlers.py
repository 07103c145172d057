"""Handlers of the system tests; run by worker processes, not by pytest."""

import asyncio
import builtins
import ctypes
import logging
import mmap
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from opentelemetry import trace

from worker import Message, Record, current_span, handler, resource


@handler
def echo(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back."""
    return payload


@handler
def spans(payload: dict[str, Any]) -> dict[str, Any]:
    """Say the payload's id in the span of the message, and begin one of its own."""
    current_span().set_attribute("payload", payload["id"])
    with trace.get_tracer("tests").start_as_current_span("own"):
        return payload


@handler
async def spans_async(payload: dict[str, Any]) -> dict[str, Any]:
    """Do the same."""
    await asyncio.sleep(0)
    return spans(payload)


@handler
def says(payload: dict[str, Any]) -> dict[str, Any]:
    """Log the payload's id."""
    logging.getLogger("tests").info("handling %d", payload["id"])
    return payload


@handler
async def says_async(payload: dict[str, Any]) -> dict[str, Any]:
    """Do the same, after others have had their turn."""
    await asyncio.sleep(0.01)
    return says(payload)


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


@handler
def need_file(payload: dict[str, Any]) -> dict[str, Any]:
    """Fail unless the file that the payload names is there."""
    if not Path(payload["file"]).exists():
        raise FileNotFoundError(payload["file"])
    return payload


@handler
async def need_file_async(payload: dict[str, Any]) -> dict[str, Any]:
    """Do the same."""
    await asyncio.sleep(0)
    return need_file(payload)


@handler(batch=50)
def need_file_batch(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Do the same with a batch."""
    return [need_file(payload) for payload in payloads]


@handler(batch=7)
def echo_batch(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the payloads back."""
    return payloads


@handler
def hang(_payload: dict[str, Any]) -> None:
    """Never come back."""
    threading.Event().wait()


@handler
def fail(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back, or raise the builtin exception that it names."""
    if "error" in payload:
        raise getattr(builtins, payload["error"])(payload)
    return payload


@handler
def abort(payload: dict[str, Any]) -> dict[str, Any]:
    """End the process if the payload says so."""
    if payload["abort"]:
        os.abort()
    return payload


@handler
async def abort_async(payload: dict[str, Any]) -> dict[str, Any]:
    """Do the same."""
    if payload["abort"]:
        os.abort()
    return payload


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


BUSY, NEXT, FAILURES = range(3)
"""What is noted of a key: whether a message is at work, which comes next, how often that failed."""


@cache
def _notes(file: str) -> "memoryview[int]":
    """The numbers in a file, which all processes share."""
    with Path(file).open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0)).cast("i")


@contextmanager
def _alone(payload: dict[str, Any]) -> Iterator["memoryview[int]"]:
    """Fail while another message of the key is at work, in whatever process; the key's notes."""
    first = 3 * int(payload["key"])
    notes = _notes(payload["notes"])[first : first + 3]
    if notes[BUSY]:
        raise RuntimeError(f"two messages of key {payload['key']} at a time")
    notes[BUSY] = 1
    try:
        yield notes
    finally:
        notes[BUSY] = 0


def _attempt(payload: dict[str, Any], notes: "memoryview[int]") -> dict[str, Any] | ConnectionError:
    """Fail as often as the message says, and unless it is the next of its key, or comes again."""
    number = payload["number"]
    if number not in (notes[NEXT], notes[NEXT] - 1):
        raise RuntimeError(f"{number} of key {payload['key']} comes in place of {notes[NEXT]}")
    if number == notes[NEXT] and notes[FAILURES] < payload["failures"]:
        notes[FAILURES] += 1
        return ConnectionError("for now")
    notes[NEXT], notes[FAILURES] = number + 1, 0
    return payload


def _result(found: dict[str, Any] | ConnectionError) -> dict[str, Any]:
    if isinstance(found, ConnectionError):
        raise found
    return found


@handler
def flaky(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back after as many failures as it says, a key's messages in order."""
    with _alone(payload) as notes:
        found = _attempt(payload, notes)
    return _result(found)


@handler
async def flaky_async(payload: dict[str, Any]) -> dict[str, Any]:
    """Do the same, after a wait of its own."""
    with _alone(payload) as notes:
        await asyncio.sleep(payload["id"] % 7 / 1000)
        found = _attempt(payload, notes)
    return _result(found)


@handler(batch=50)
def flaky_batch(payloads: list[dict[str, Any]]) -> list[dict[str, Any] | ConnectionError]:
    """Do the same with each of a batch, whatever the order."""
    found: list[dict[str, Any] | ConnectionError] = []
    for payload in payloads:
        with _alone(payload) as notes:
            found.append(_attempt(payload, notes))
    return found


def _tier(message: Message) -> int:
    """How many retry topics a message has come to: 0 where it was read first."""
    before, _, number = message.topic.rpartition(".retry.")
    return int(number) + 1 if before else 0


@handler
async def fail_in_tiers(payload: dict[str, Any], message: Message) -> dict[str, Any]:
    """Fail in as many topics as the payload says, the source first and then the tiers."""
    await asyncio.sleep(payload["id"] % 7 / 1000)
    if _tier(message) < payload["failures"]:
        raise ConnectionError("for now")
    return payload


@handler
async def fail_in_tiers_in_turn(payload: dict[str, Any], message: Message) -> dict[str, Any]:
    """Do the same, a key's messages in order; for workers that are not killed."""
    with _alone(payload) as notes:
        if payload["number"] != notes[NEXT]:
            raise RuntimeError(f"{payload['number']} comes in place of {notes[NEXT]}")
        found = await fail_in_tiers(payload, message)
        notes[NEXT] += 1
    return found


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


@handler
def hold_for(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back after as many seconds, in which nothing else in the process runs."""
    ctypes.PyDLL(None).sleep(payload.get("seconds", 0))
    return payload


def _outlast(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.05)


@handler
def leave_behind(payload: dict[str, Any]) -> dict[str, Any]:
    """Give the payload back, and leave what it names: it ends with the process at the earliest."""
    here = os.getpid()
    match payload["leaves"]:
        case "fork":
            if os.fork() == 0:
                _outlast(here)
                os._exit(0)
        case "process":
            get_context("fork").Process(target=_outlast, args=(here,)).start()
        case "thread":
            threading.Thread(target=threading.Event().wait).start()
    return payload


@resource
def refused() -> Iterator[None]:
    """Fail."""
    raise OSError("no network")
    yield


@handler
def with_refused(_payload: dict[str, Any], refused: None) -> None:
    """Never be called."""


def _slots(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """As many results as the payload says, unless it fails."""
    if payload["fails"]:
        raise ValueError("for good")
    return [{**payload, "slot": slot} for slot in range(payload["results"])]


@handler
async def give_slots(payload: dict[str, Any], message: Message) -> list[dict[str, Any]]:
    """Give as many results as the payload says, after failures in as many topics, or fail."""
    await asyncio.sleep(payload["id"] % 7 / 1000)
    if _tier(message) < payload["failures"]:
        raise ConnectionError("for now")
    return _slots(payload)


@handler
def give_slots_in_processes(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Give as many results as the payload says, or fail."""
    return _slots(payload)


@handler(batch=20)
def give_slots_in_batches(payloads: list[dict[str, Any]]) -> list[list[dict[str, Any]] | Exception]:
    """Do the same with each of a batch."""
    found: list[list[dict[str, Any]] | Exception] = []
    for payload in payloads:
        try:
            found.append(_slots(payload))
        except ValueError as error:
            found.append(error)
    return found
