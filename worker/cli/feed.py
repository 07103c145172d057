"""Files of JSON lines as records: each line is a value, a field of it may be the key."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import click

from worker.errors import ClientError, QueueFull, WorkerError
from worker.kafka.config import producer
from worker.kafka.lines import lines_in
from worker.kafka.producer import KafkaProducer
from worker.kafka.written import key_of
from worker.settings import KafkaSettings
from worker.types import Encoded

_SERVE_EVERY: Final = 500
"""Records between two looks at the delivery reports."""
_PATIENCE: Final = 30.0
"""Seconds in which the last records must be acknowledged."""
_EVENLY: Final = {"sticky.partitioning.linger.ms": 0}
"""Records without a key go to the partitions one by one, since the embedded broker keeps 5 MiB of
each."""


class FeedFailed(WorkerError):
    """The records of a file could not be delivered, or it could not be read."""


class Assignment(click.ParamType[tuple[str, str]]):
    """A topic and what goes with it, as TOPIC=..."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first =."""
        if isinstance(value, tuple):
            return cast("tuple[str, str]", value)
        topic, separator, rest = str(value).partition("=")
        if not (topic and separator and rest):
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return topic, rest


@dataclass(frozen=True, slots=True)
class Feed:
    """A file that becomes the records of a topic; `key` is the field that becomes their key."""

    topic: str
    file: Path
    key: str | None = None

    def records(self) -> Iterator[tuple[int, Encoded]]:
        """The lines as records, with their numbers; raises `Unreadable`."""
        for number, line in lines_in(self.file):
            key = None if self.key is None else key_of(line, self.key)
            yield number, Encoded(self.topic, line, key)


class Feeder(threading.Thread):
    """Sends feeds, one after the other, in a thread of its own."""

    def __init__(self, kafka: KafkaSettings, feeds: Sequence[Feed]) -> None:
        super().__init__(name="feed", daemon=True)
        self._kafka = kafka
        self._feeds = feeds
        self._stopped = threading.Event()
        self.sent: dict[str, int] = {feed.topic: 0 for feed in feeds}
        """Records sent per topic."""
        self.done = threading.Event()
        """Set when all records are acknowledged, or when `failed` is."""
        self.failed: FeedFailed | None = None

    def run(self) -> None:
        """Send everything and wait until it is acknowledged."""
        try:
            self._send_all()
        except WorkerError as error:
            self.failed = error if isinstance(error, FeedFailed) else FeedFailed(str(error))
        finally:
            self.done.set()

    def end(self) -> None:
        """Send no more, and wait for the end of the thread."""
        self._stopped.set()
        self.join()

    def _send_all(self) -> None:
        with closing(_Sender(self._kafka)) as sender:
            for feed in self._feeds:
                for number, record in feed.records():
                    if self._stopped.is_set():
                        return
                    try:
                        sender.send(record)
                    except ClientError as error:
                        raise FeedFailed(f"{feed.file}:{number}: {error}") from error
                    self.sent[feed.topic] += 1
            sender.finish()


class _Sender:
    """A producer that is served by whoever sends."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._producer = KafkaProducer({**producer(kafka, {}), **_EVENLY})
        self._sent = 0
        self._acknowledged = 0
        self._refusal: str | None = None

    def send(self, record: Encoded) -> None:
        while not self._queued(record):
            self._serve(0.1)
        self._sent += 1
        if self._sent % _SERVE_EVERY == 0:
            self._serve(0)

    def finish(self) -> None:
        while self._acknowledged < self._sent:
            self._serve(0.1)

    def close(self) -> None:
        self._producer.close(_PATIENCE if self._refusal is None else 0)

    def _queued(self, record: Encoded) -> bool:
        try:
            self._producer.send((record,), self._stored, self._failed)
        except QueueFull:
            return False
        return True

    def _serve(self, timeout: float) -> None:
        self._producer.poll(timeout)
        if self._refusal is not None:
            raise FeedFailed(f"a record was not delivered: {self._refusal}")

    def _stored(self, records: int) -> None:
        self._acknowledged += records

    def _failed(self, error: object) -> None:
        self._refusal = str(error)


def feeds_of(
    files: Sequence[tuple[str, str]], keys: Sequence[tuple[str, str]], read: Collection[str]
) -> list[Feed]:
    """The feeds of a command line; `read` names the topics that are read.

    Raises `click.UsageError`.
    """
    fields = dict(keys)
    for topic in fields.keys() - {topic for topic, _ in files}:
        raise click.BadParameter(f"{topic!r} has no --feed", param_hint="--feed-key")
    for topic, file in files:
        if topic not in read:
            text = f"no pipeline that runs reads {topic!r}; they read {', '.join(sorted(read))}"
            raise click.BadParameter(text, param_hint="--feed")
        if not Path(file).is_file():
            raise click.BadParameter(f"{file!r} is not a file", param_hint="--feed")
    return [Feed(topic, Path(file), fields.get(topic)) for topic, file in files]
