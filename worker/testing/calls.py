"""Calls of clients and handlers: the places at which a test can have something happen."""

from __future__ import annotations

from typing import Final, get_args

from worker.engine.partition import Partition, Run
from worker.ports import AT_HAND
from worker.settings.simulation import Call, ClientCall, HandlerCall

CALLS: Final[tuple[Call, ...]] = (*get_args(ClientCall), *get_args(HandlerCall))


def pipeline_at_hand() -> str:
    """The pipeline whose step is taken, or whose handler is at work; empty where none is."""
    at_hand = AT_HAND.get()
    return "" if at_hand is None else at_hand[0]


def partition_at_hand() -> Partition:
    """The partition whose messages a handler is at; raises `TypeError` where none is."""
    _, run = AT_HAND.get() or ("", None)
    if not isinstance(run, Run):
        raise TypeError(f"a handler is called for a run, and not for {run}")
    return run.partition
