"""Relays in front of brokers, in a process of their own: what they are told makes the network bad.

    python -m tests.faults.proxy LISTEN:TARGET ...

Each line of standard input is a JSON object: `{"trouble": {...}}` as `Trouble` has it, for all
relays or those whose numbers are in `only`; `{"reset": true}` ends every connection by a reset. The
answer to each is a line with what was done since the start.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

PART: Final = 65_536
HOST: Final = "127.0.0.1"
WAITING: Final = 256
"""Parts that are on their way in one direction of a connection at most."""
RESET: Final = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which closing is a reset."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a relay; by default nothing."""

    delay: float = 0.0
    """Seconds that everything takes longer, in each direction."""
    jitter: float = 0.0
    """Part of the delay by which it differs at most."""
    rate: float | None = None
    """Bytes per second of each direction of a connection."""
    hold: tuple[str, ...] = ()
    """Directions in which nothing passes: `requests`, `answers`."""


class Relay:
    """Passes connections on to a port of this machine."""

    def __init__(self, listen: int, target: int) -> None:
        self._listen, self._target = listen, target
        self._open: set[asyncio.StreamWriter] = set()
        self._chance = Random(listen)
        self._changed = asyncio.Condition()
        self._trouble = Trouble()
        self.done = Counter[str]()

    async def start(self) -> None:
        """Begin to listen."""
        await asyncio.start_server(self._connect, HOST, self._listen)

    async def suffer(self, trouble: Trouble) -> None:
        """Have this trouble from now on."""
        async with self._changed:
            self._trouble = trouble
            self._changed.notify_all()

    def reset(self) -> None:
        """End every connection by a reset, to both sides."""
        for one in [one for one in self._open if not one.is_closing()]:
            one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.transport.abort()
            self.done["reset"] += 1

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, requests}
        self._open |= both
        self.done["connected"] += 1
        ways = [
            asyncio.create_task(self._pass(reader, requests, "requests")),
            asyncio.create_task(self._pass(answers, writer, "answers")),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for one in both:
            one.transport.abort()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._open -= both

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        """Pass on what comes until its end, in the time that it takes."""
        parts = asyncio.Queue[tuple[float, bytes]](WAITING)
        reading = asyncio.create_task(self._read(reader, parts))
        try:
            while (due_and_part := await parts.get())[1]:
                due, part = due_and_part
                await self._wait(due, len(part), way)
                writer.write(part)
                await writer.drain()
        finally:
            reading.cancel()

    async def _read(
        self, reader: asyncio.StreamReader, parts: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while part := await reader.read(PART):
                await parts.put((loop.time() + self._seconds(), part))
        await parts.put((0.0, b""))

    async def _wait(self, due: float, size: int, way: str) -> None:
        seconds = due - asyncio.get_running_loop().time()
        if seconds > 0:
            self.done["delayed"] += 1
            await asyncio.sleep(seconds)
        if self._trouble.rate is not None:
            self.done["slowed"] += 1
            await asyncio.sleep(size / self._trouble.rate)
        if way in self._trouble.hold:
            self.done["held"] += 1
            async with self._changed:
                await self._changed.wait_for(lambda: way not in self._trouble.hold)

    def _seconds(self) -> float:
        spread = self._trouble.jitter * (2 * self._chance.random() - 1)
        return self._trouble.delay * (1 + spread)


async def serve(relays: list[Relay]) -> None:
    """Listen, and do what standard input says until its end."""
    for relay in relays:
        await relay.start()
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        await _do(relays, json.loads(line))
        done = sum((relay.done for relay in relays), Counter[str]())
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()


async def _do(relays: list[Relay], order: dict[str, Any]) -> None:
    for relay in (relays[number] for number in order.get("only", range(len(relays)))):
        if order.get("reset"):
            relay.reset()
        if "trouble" in order:
            await relay.suffer(Trouble(**order["trouble"]))


async def main() -> None:
    pairs = (argument.split(":") for argument in sys.argv[1:])
    await serve([Relay(int(listen), int(target)) for listen, target in pairs])


if __name__ == "__main__":
    asyncio.run(main())
