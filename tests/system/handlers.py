"""Handlers of the system tests; run by worker processes, not by pytest."""

import threading
import time
from collections.abc import AsyncIterator
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
