"""What is known of a record that was given to the producer: our own, slotted future.

`concurrent.futures.Future` for each record costs two thirds of the producer's speed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import suppress
from threading import Event, Lock
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError
from confluent_kafka import Message as Raw

from worker.errors import SendFailed
from worker.kafka.failures import describe, specific
from worker.types import Delivered

log = logging.getLogger(__name__)

Callback = Callable[["Delivery"], object]


_ADDING: Final = Lock()
"""Held while a callback is added, which few records have."""


class Served(Protocol):
    """The producer that a record was given to, as far as its delivery needs it."""

    messages: int
    bytes: int

    def failed(self, error: SendFailed) -> None:
        """Take note of a record that was not acknowledged."""

    def serve_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Serve reports until `done`, if this is the thread that serves them; whether it is."""

    def call_back(self, delivery: Delivery) -> None:
        """Have the thread that serves the producer call `delivery.call_back()`."""


class Delivery:
    """A record on its way; awaitable, and for any thread.

    It is itself what the producer calls with its report, and makes of it what is asked for only
    then: with a bound method and a tuple for each record sending takes a third longer.
    Whoever waits, and whoever serves the producer, first write what they have and then look for
    what the other has, so that neither misses the other.
    """

    __slots__ = ("_callbacks", "_outcome", "_served")

    def __init__(self, served: Served) -> None:
        self._served = served
        self._outcome: Raw | SendFailed | None = None
        self._callbacks: list[Callback] | None = None

    def done(self) -> bool:
        """Whether it is known what became of the record."""
        return self._outcome is not None

    def result(self, timeout: float | None = None) -> Delivered:
        """Where the record is; waits for up to `timeout` seconds, or for as long as it takes.

        Raises `SendFailed`, and `TimeoutError` when nothing is known yet.
        """
        outcome = self._wait(timeout)
        if isinstance(outcome, SendFailed):
            raise outcome
        return _delivered(outcome)

    def exception(self, timeout: float | None = None) -> SendFailed | None:
        """Why the record was not acknowledged, None when it was; raises `TimeoutError`."""
        outcome = self._wait(timeout)
        return outcome if isinstance(outcome, SendFailed) else None

    def add_done_callback(self, callback: Callback) -> None:
        """Call `callback(delivery)` once it is done, at once if it is already.

        Otherwise in the thread that serves the producer, so it must be short; what it raises is
        logged.
        """
        with _ADDING:
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)
        if self._outcome is not None:
            self.call_back()

    def __await__(self) -> Generator[Any, None, Delivered]:
        """Wait without blocking the loop; raises `SendFailed`."""
        if self._outcome is None:
            loop = asyncio.get_running_loop()
            woken = loop.create_future()

            def wake(_delivery: Delivery) -> None:
                with suppress(RuntimeError):  # the loop may be closed by then
                    loop.call_soon_threadsafe(_settle, woken)

            self.add_done_callback(wake)
            yield from woken.__await__()
        return self.result()

    def __call__(self, error: Any, message: Any) -> None:
        """Take the producer's report; called exactly once, by the producer."""
        served = self._served
        if error is None:
            served.messages += 1
            served.bytes += len(message)
            message.set_value(None)  # whoever keeps the delivery need not keep the payload
            self._outcome = message
        else:
            self._outcome = failed = _failed(error, message)
            served.failed(failed)
        if self._callbacks is not None:
            served.call_back(self)

    def call_back(self) -> None:
        """Call what was added, each once."""
        callbacks = self._callbacks
        while callbacks:
            with suppress(IndexError):  # taken by another thread just now
                callback = callbacks.pop(0)
                try:
                    callback(self)
                except BaseException:  # it would end the thread that serves all records
                    log.exception("a callback of a delivery raised")

    def _wait(self, timeout: float | None) -> Raw | SendFailed:
        if self._outcome is None and not self._served.serve_until(self.done, timeout):
            known = Event()

            def tell(_delivery: Delivery) -> None:
                known.set()

            self.add_done_callback(tell)
            if not known.wait(timeout):
                self._forget(tell)
        if self._outcome is None:
            raise TimeoutError(f"nothing is known of the record after {timeout} s")
        return self._outcome

    def _forget(self, callback: Callback) -> None:
        with suppress(ValueError):  # it is being called just now
            (self._callbacks or []).remove(callback)


def _settle(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _delivered(message: Raw) -> Delivered:
    offset = message.offset()
    return Delivered(
        message.topic() or "",
        message.partition() or 0,
        -1 if offset is None else offset,
        message.timestamp()[1],
    )


def _failed(error: KafkaError, message: Raw) -> SendFailed:
    text = f"a record for {message.topic()} was not delivered: {describe(error)}"
    return specific(SendFailed, text, error, f"Write on topic {message.topic()}")
