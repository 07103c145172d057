"""The same work as `bare.py`, as handlers."""

import asyncio
import time
from typing import Any

from worker import handler


@handler
def seen(flight: dict[str, Any]) -> dict[str, Any]:
    flight["seen"] = True
    return flight


@handler(batch=500)
def seen_batch(flights: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for flight in flights:
        flight["seen"] = True
    return flights


@handler
def seen_after_work(flight: dict[str, Any]) -> dict[str, Any]:
    """As `seen`, after computing for about 0.15 ms."""
    flight["seen"] = sum(range(10_000)) > 0
    return flight


@handler
def seen_after_much_work(flight: dict[str, Any]) -> dict[str, Any]:
    """As `seen`, after computing for about a millisecond."""
    flight["seen"] = sum(range(66_000)) > 0
    return flight


@handler
def computes_for_long(flight: dict[str, Any]) -> None:
    """Compute for ten seconds, in Python alone: the interpreter is free for moments only."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        flight["seen"] = sum(range(1_000)) > 0


@handler
async def seen_later(flight: dict[str, Any]) -> dict[str, Any]:
    """As `seen`, after waiting as for the answer of another service."""
    await asyncio.sleep(0.01)
    flight["seen"] = True
    return flight
