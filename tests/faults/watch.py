"""What is looked at once a second: workers by Linux's /proc and their health, groups by offsets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from tests.faults.crew import Crew, Worker
from worker.kafka.admin import OffsetSpec

EVERY: Final = 1.0
ASKED_FOR: Final = 3.0
"""Seconds within which the cluster is to say something."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at a moment."""

    at: float
    """In seconds since 1970."""
    name: str
    rss: int
    """Bytes."""
    files: int
    threads: int
    live: int
    """The status of `/livez`, and 0 when nothing answers."""
    reasons: tuple[str, ...] | None
    """Codes of why it is not ready; None when nothing answers."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the groups have committed at a moment."""

    at: float
    committed: Mapping[str, tuple[int, ...]]
    """By group, of each partition of the input."""
    ends: tuple[int, ...]
    """Of each partition of the input, for those who read what is committed."""
    generation: int = 0
    """How often the input had been made anew, with offsets from the start."""

    @property
    def lag(self) -> int:
        """Records of the input that the slowest group has not committed."""
        return max(sum(self.ends) - sum(one) for one in self.committed.values())

    def covers(self, ends: tuple[int, ...]) -> bool:
        """Whether every group is through to these ends."""
        return all(
            offset >= end
            for offsets in self.committed.values()
            for offset, end in zip(offsets, ends, strict=True)
        )


class Cluster:
    """What the brokers say of the input and of those who read it.

    Committed offsets are asked for as a consumer does: asked as an operator, the client aborts the
    process when a coordinator goes at the wrong moment (librdkafka's pull request 5397).
    """

    def __init__(self, address: str, topic: str, partitions: int, groups: tuple[str, ...]) -> None:
        self._client: dict[str, str | int | float | bool] = {
            "bootstrap.servers": address,
            "log_level": 0,
        }
        self._admin = AdminClient(self._client)
        self._members = {one: Consumer({**self._client, "group.id": one}) for one in groups}
        self.topic, self.partitions = topic, partitions
        self.generation = 0
        """To be raised when the input is deleted."""
        self.silence = ""
        """Why nobody said so at last."""

    def progress(self) -> Progress | None:
        """How far the groups are; None when nobody says so in time."""
        places = [Place(self.topic, number) for number in range(self.partitions)]
        generation = self.generation
        try:
            committed = {group: self.committed(group, places) for group in self._members}
            ends = self.ends(places)
        except (KafkaException, TimeoutError) as error:
            self.silence = str(error)
            return None
        return Progress(time.time(), committed, ends, generation)

    def ends(self, places: list[Place]) -> tuple[int, ...]:
        """The ends of partitions, for those who read what is committed; raises `KafkaException`.

        A client that was refused asks the same broker for ever, so there is another one then.
        """
        asked = dict.fromkeys(places, OffsetSpec.latest())
        told = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ASKED_FOR
        )
        try:
            return tuple(told[place].result(2 * ASKED_FOR).offset for place in places)
        except KafkaException:
            self._admin = AdminClient(self._client)
            raise

    def committed(self, group: str, places: list[Place]) -> tuple[int, ...]:
        """What a group has committed of partitions, 0 if nothing; raises `KafkaException`."""
        found = self._members[group].committed(places, timeout=ASKED_FOR)
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
        return tuple(max(0, one.offset) for one in found)


class Watch:
    """Takes samples until the end of the block."""

    def __init__(self, crew: Crew, cluster: Cluster) -> None:
        self._crew, self._cluster = crew, cluster
        self.samples: list[Sample] = []
        self.progress: list[Progress] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(look,))
            for look in (self._look_at_workers, self._look_at_groups)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, look: Callable[[], None]) -> None:
        while not self._ended.wait(EVERY):
            look()

    def _look_at_workers(self) -> None:
        for worker in self._crew.living:
            found = sample(worker)
            if found is not None:
                self.samples.append(found)

    def _look_at_groups(self) -> None:
        found = self._cluster.progress()
        if found is not None:
            self.progress.append(found)


def sample(worker: Worker) -> Sample | None:
    """Look at a worker; None when it has just ended."""
    proc = Path(f"/proc/{worker.process.pid}")
    live, _ = worker.get("/livez")
    _, ready = worker.get("/readyz")
    try:
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        files = len([*(proc / "fd").iterdir()])
        rss, threads = int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"])
    except (OSError, KeyError):
        return None
    reasons = tuple(one["code"] for one in ready["reasons"]) if isinstance(ready, dict) else None
    return Sample(time.time(), worker.name, rss, files, threads, live, reasons)
