"""The lanes of one partition alone: what they take of time for each message, and of memory.

usage: python -m bench.lane_loop time lanes|deque KEYS RUN_LIMIT MESSAGES
       python -m bench.lane_loop memory MESSAGES STEPS
"""

import json
import random
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from confluent_kafka import Message

from worker.engine import heap
from worker.engine.partition import POLL_LIMIT
from worker.flow.lanes import KeyLanes
from worker.types import RawMessage

HELD = 10_000
"""Messages in the lanes at a time."""
AT_WORK = 500
"""Of these, taken and not given back yet."""


class Lanes(Protocol):
    """What the loop asks of them; see `worker.flow.lanes.Lanes`."""

    def add(self, messages: Sequence[RawMessage]) -> None: ...
    def take(self, limit: int) -> list[RawMessage]: ...
    def release(self, run: Sequence[RawMessage], handled: int) -> None: ...


class Plain:
    """A queue without lanes, for comparison."""

    def __init__(self) -> None:
        self._queue: deque[RawMessage] = deque()

    def add(self, messages: Sequence[RawMessage]) -> None:
        self._queue.extend(messages)

    def take(self, limit: int) -> list[RawMessage]:
        popleft = self._queue.popleft
        return [popleft() for _ in range(min(limit, len(self._queue)))]

    def release(self, run: Sequence[RawMessage], handled: int) -> None:
        pass


class Loop:
    """Polls come in, runs go out and come back in turn, as they do in a pipeline."""

    def __init__(self, lanes: Lanes, limit: int) -> None:
        self._lanes = lanes
        self._limit = limit
        self._out: deque[list[RawMessage]] = deque()
        self._held = 0

    def poll(self, messages: Sequence[RawMessage]) -> None:
        """Take messages in, and let as many go once enough are held."""
        take, release, limit, out = self._lanes.take, self._lanes.release, self._limit, self._out
        self._lanes.add(messages)
        self._held += len(messages)
        while self._held > HELD:
            while len(out) * limit < AT_WORK and (run := take(limit)):
                out.append(run)
            run = out.popleft()
            release(run, len(run))
            self._held -= len(run)


def seconds_per_message(kind: str, keys: int, limit: int, number: int) -> float:
    """Keys are drawn with a fixed seed; the loop itself is part of the time."""
    draw = random.Random(1)
    messages = [_message(n, draw.randrange(keys)) for n in range(number + HELD)]
    loop = Loop({"lanes": KeyLanes, "deque": Plain}[kind](), limit)
    heap.collect_rarely()
    loop.poll(messages[:HELD])
    begun = time.process_time()
    for start in range(HELD, len(messages), POLL_LIMIT):
        loop.poll(messages[start : start + POLL_LIMIT])
    return (time.process_time() - begun) / number


def resident(number: int, steps: int) -> list[float]:
    """MiB of memory after each of some steps, every message with a key of its own."""
    loop, found = Loop(KeyLanes(), 1), []
    heap.collect_rarely()
    for step in range(steps):
        first, last = number * step // steps, number * (step + 1) // steps
        for start in range(first, last, POLL_LIMIT):
            loop.poll([_message(n, n) for n in range(start, min(start + POLL_LIMIT, last))])
        found.append(_resident())
    return found


def _message(offset: int, key: int) -> RawMessage:
    made = Message(topic="lanes", partition=0, offset=offset, key=b"key-%d" % key, value=b"value")
    return cast("RawMessage", made)


def _resident() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main(what: str, *rest: str) -> None:
    if what == "memory":
        print(json.dumps(resident(*map(int, rest))))
    else:
        kind, *numbers = rest
        print(json.dumps(seconds_per_message(kind, *map(int, numbers))))


if __name__ == "__main__":
    main(*sys.argv[1:])
