"""What the tests of the client share: an inbox as its handler, and waiting for what must come."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from threading import Event

from worker import Message
from worker.types import TopicPartition

DEADLINE = 60.0
"""Seconds after which what a test waits for has failed to come."""


def unique(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:8]}"


def until(condition: Callable[[], object]) -> None:
    """Look again and again until the condition holds."""
    deadline, never = time.monotonic() + DEADLINE, Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s"
        never.wait(0.02)


class Inbox:
    """A handler that keeps what it is given."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def __call__(self, message: Message) -> None:
        self._arrived.put(message)

    def take(self, number: int) -> list[Message]:
        """The next messages."""
        return [self._arrived.get(timeout=DEADLINE) for _ in range(number)]

    @property
    def is_empty(self) -> bool:
        return self._arrived.empty()


class Share:
    """The partitions that a member has, and what it was told of them."""

    def __init__(self) -> None:
        self.partitions: set[TopicPartition] = set()
        self.told: list[str] = []

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append("assigned")
        self.partitions.update(partitions)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append("revoked")
        self.partitions.difference_update(partitions)

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append("lost")
        self.partitions.difference_update(partitions)


def values(messages: Sequence[Message]) -> list[bytes | None]:
    return [message.value for message in messages]
