"""Numbers of things, as people say them."""

from __future__ import annotations


def counted(number: int, one: str = "message", many: str = "messages") -> str:
    """So many things, by their singular and plural: `1 message`, `2,000 messages`."""
    return f"{number:,} {one if number == 1 else many}"
