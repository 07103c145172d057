"""What a client reads: one thing at a time, by hand or in a group."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

from worker.errors import (
    AlreadyConsuming,
    ClientClosed,
    ConsumeFailed,
    InConsumerGroup,
    NotConsuming,
    NotInConsumerGroup,
)
from worker.kafka.consumer import KafkaConsumer
from worker.kafka.reading import Reading


class Activity:
    """The reading of a client, its beginning and its end; for any thread."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._reading: Reading | None = None
        self._group: str | None = None
        """The group that is being read in; None when partitions are read by hand."""
        self._beginning = False
        self._closed = False
        self._messages = 0
        self._bytes = 0

    @property
    def consumer(self) -> KafkaConsumer | None:
        """The consumer that is being read from."""
        reading = self._reading
        return None if reading is None or reading.ended else reading.consumer

    @property
    def handled(self) -> tuple[int, int]:
        """Messages that were handled so far, and the bytes of their payload."""
        with self._lock:
            if self._reading is None:
                return self._messages, self._bytes
            return self._messages + self._reading.messages, self._bytes + self._reading.bytes

    def member(self) -> KafkaConsumer:
        """The consumer of the group; raises `NotInConsumerGroup`."""
        consumer = self.consumer
        if consumer is None or self._group is None:
            raise NotInConsumerGroup("the client is in no group")
        return consumer

    def begin(self, make: Callable[[], Reading], group: str | None, *, background: bool) -> None:
        """Read, in a group or by hand; raises `InConsumerGroup`, `AlreadyConsuming` and as `make`.

        In the foreground it returns when reading is stopped, and raises `ConsumeFailed`.
        """
        reading = self._begin(make, group)
        if background:
            reading.start()
            return
        try:
            reading.run()
        finally:
            self._forget(reading)

    def stop_consuming(self) -> None:
        """Stop reading by hand; raises `NotConsuming`, and what has stopped it before."""
        if self._reading is None or self._group is not None:
            raise NotConsuming("nothing is being consumed")
        self._stop(self._reading)

    def leave(self) -> None:
        """Stop reading in a group; raises `NotInConsumerGroup`, and what has stopped it before."""
        if self._reading is None or self._group is None:
            raise NotInConsumerGroup("the client is in no group")
        self._stop(self._reading)

    def close(self, timeout: float) -> bool:
        """Stop whatever is read; whether its consumer has closed within `timeout` seconds."""
        with self._lock:
            self._closed = True
            reading = self._reading
        return reading is None or reading.stop(timeout)

    @property
    def is_mine(self) -> bool:
        """Whether this thread is the one that reads."""
        return self._reading is not None and self._reading.is_mine

    def _begin(self, make: Callable[[], Reading], group: str | None) -> Reading:
        """Make a reading; its questions to the cluster keep nobody else waiting."""
        with self._lock:
            self._require_idle()
            self._forget(self._reading)
            self._beginning, self._group = True, group
        made = None
        try:
            made = make()
        finally:
            with self._lock:
                self._beginning = False
                self._reading = None if self._closed else made
                self._group = None if self._reading is None else group
        if self._reading is None:
            made.stop(timeout=0.0)
            made.run()
            raise ClientClosed("the client was closed meanwhile")
        return made

    def _require_idle(self) -> None:
        if self.consumer is None and not self._beginning:
            return
        if self._group is not None:
            raise InConsumerGroup(f"the client is in the group {self._group}")
        raise AlreadyConsuming("the client is consuming")

    def _stop(self, reading: Reading) -> None:
        if not reading.stop():
            raise ConsumeFailed(
                "the consumer did not close in time", advice="go on with another client"
            )
        if reading.alone and reading.ended:
            self._forget(reading)
            if reading.failure is not None:
                raise reading.failure

    def _forget(self, reading: Reading | None) -> None:
        """Keep of a reading that has ended what it has counted."""
        with self._lock:
            if reading is not None and self._reading is reading:
                self._messages += reading.messages
                self._bytes += reading.bytes
                self._reading = self._group = None
