"""Records on their way to the producer, and what becomes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from worker.engine.chunk import Chunk
from worker.errors import ClientError, QueueFull
from worker.flow.health import Counts
from worker.ports import Producer
from worker.types import Failure


class Outbox:
    """Chunks in the order in which they are sent; `on_answered` is told of each that is stored.

    And of one whose partition is gone: nothing of it matters any more. `on_refused` is told of a
    record that no broker will ever take, by its place in its chunk, and says if that is known.
    """

    def __init__(
        self,
        producer: Producer,
        counts: Counts,
        on_answered: Callable[[Chunk], None],
        on_refused: Callable[[Chunk, int, Failure], bool],
        *,
        careful: bool,
    ) -> None:
        self._careful = careful
        """Whether to know the place of each record in its chunk, which takes longer.

        Delivery reports hold too little to tell two records apart that differ in headers or time.
        The producer is one that sends each record alone, so that an error is about no other.
        """
        self.failure: str | None = None
        """Why a record could not be delivered; then only a new producer helps."""
        self.learnt = False
        """Whether something is known of the failure with which trying again gets further."""
        self._producer = producer
        self._counts = counts
        self._on_answered = on_answered
        self._on_refused = on_refused
        self._chunks: deque[Chunk] = deque()

    def __len__(self) -> int:
        """How many chunks wait for room in the producer's queue."""
        return len(self._chunks)

    def put(self, chunk: Chunk) -> None:
        """Send the records of a chunk, behind what waits."""
        self._chunks.append(chunk)
        self.send()

    def queue(self, chunk: Chunk) -> None:
        """Have it sent with the next `send`: from inside a report nothing is."""
        self._chunks.append(chunk)

    def send(self) -> None:
        """Send what waits, as far as there is room."""
        while self._chunks and self.failure is None:
            chunk = self._chunks[0]
            if not chunk.partition.alive:
                self._on_answered(chunk)
            elif not self._send(chunk):
                return
            self._chunks.popleft()

    def clear(self) -> None:
        """Forget what waits."""
        self._chunks.clear()

    def close(self) -> None:
        """Tell nobody any more, and keep nobody: else who has it would be garbage in a circle."""
        self._on_answered, self._on_refused = _nobody, _nobody_knows

    def _send(self, chunk: Chunk) -> bool:
        stored = partial(self._stored, chunk)
        try:
            while chunk.sent < chunk.number:
                last, place = (chunk.sent + 1, chunk.sent) if self._careful else (None, None)
                failed = partial(self._failed, chunk, place)
                records = chunk.records[chunk.sent : last]
                chunk.sent += self._producer.send(records, stored, failed)
        except QueueFull:
            return False
        except ClientError as error:
            self._fail(error, chunk, chunk.sent)
            return False
        chunk.records = ()
        return True

    def _stored(self, chunk: Chunk, records: int) -> None:
        chunk.unacknowledged -= records
        if not chunk.unacknowledged or not chunk.partition.alive:
            self._on_answered(chunk)

    def _failed(self, chunk: Chunk, place: int | None, error: ClientError) -> None:
        if chunk.partition.alive:
            self._fail(error, chunk, place)
        else:
            self._on_answered(chunk)

    def _fail(self, error: ClientError, chunk: Chunk, place: int | None) -> None:
        self._counts.delivery_failures += 1
        if self.failure is None:
            self.failure = str(error)
        refusal = self._producer.refusal(error)
        if refusal is None:
            return
        if not self._careful:
            self.learnt = True
        elif place is not None:
            self.learnt |= self._on_refused(chunk, place, refusal)


def _nobody(_chunk: Chunk) -> None:
    pass


def _nobody_knows(_chunk: Chunk, _place: int, _failure: Failure) -> bool:
    return False
