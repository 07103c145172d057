"""The same work as `bare.py`, as handlers."""

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
