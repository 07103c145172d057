"""Lines become records of a topic, and what becomes of each is told by its number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from worker.errors import ClientError, InvalidPartition
from worker.kafka.client import Kafka
from worker.kafka.delivery import Delivery
from worker.kafka.failures import refusal
from worker.kafka.written import BadLine, Parse

ROOM: Final = 100_000
"""Records on their way at most."""
TOGETHER: Final = " (records that were sent together are refused together)"
"""Of a batch that brokers refuse it is not known which record is at fault."""

OnFailure = Callable[[int, bytes, Sequence[str]], object]
"""Is told the number of a line that did not become a record, the line, and why."""


class Production:
    """Sends lines; it belongs to one thread.

    A line that is no record, or whose record brokers refuse for what it is, fails alone. Any other
    failure, as when brokers are away, ends the production.
    """

    def __init__(self, kafka: Kafka, parse: Parse, on_failure: OnFailure) -> None:
        self.lines = 0
        """Those that were read."""
        self.last = 0
        """The number of the last one."""
        self.acknowledged = 0
        self.failed = 0
        self.broken = False
        """Whether it has ended before the lines did."""
        self._kafka = kafka
        self._parse = parse
        self._on_failure = on_failure
        self._under_way: deque[tuple[int, bytes, Delivery]] = deque()

    def run(self, lines: Iterable[tuple[int, bytes]]) -> None:
        """Send numbered lines, and wait until it is known of each what became of it."""
        try:
            for number, line in lines:
                self.lines += 1
                self.last = number
                self._send(number, line)
                if self.broken:
                    break
        finally:
            while self._under_way:
                self._take_first()

    def _send(self, number: int, line: bytes) -> None:
        try:
            record = self._parse(line)
            delivery = self._kafka.send_async(
                record.topic,
                record.value,
                record.key,
                record.headers,
                record.partition,
                record.timestamp,
            )
        except BadLine as bad:
            self.failed += 1
            self._on_failure(number, line, bad.problems)
        except ClientError as error:
            self._fail(number, line, error)
        else:
            self._under_way.append((number, line, delivery))
        while self._under_way and (self._under_way[0][2].done() or len(self._under_way) > ROOM):
            self._take_first()

    def _take_first(self) -> None:
        number, line, delivery = self._under_way.popleft()
        error = delivery.exception()
        if error is None:
            self.acknowledged += 1
        else:
            self._fail(number, line, error)

    def _fail(self, number: int, line: bytes, error: ClientError) -> None:
        self.failed += 1
        refused = refusal(error)
        if not isinstance(error, InvalidPartition) and refused is None:
            self.broken = True
        together = refused is not None and refused.reason == "unencodable"
        self._on_failure(number, line, [f"{error}{TOGETHER if together else ''}"])
